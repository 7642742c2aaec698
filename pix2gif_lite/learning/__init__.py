"""What each part learns from, the loop that they share (section 4.1), and what a run needs and leaves.

The files, in reading order:

checkpoints.py        EMA, and checkpoints that are whole or absent (4.1)
lora.py               a large UNet learns through small additions to its attention, merged at the end
perceptual_choice.py  what the perceptual loss looks with, chosen before a run (3.4)
autoencoder_job.py    what E and D learn from
model_job.py          what the model learns from, Eq. 3 and 8 on latents (3.4)
distillation_job.py   the student's job: where the teacher's long way ends, from every state of its own short one
rehearsal_job.py      E and D rehearse with the model: to be warped as it warps
decoder_job.py        what D learns last: to decode what the model makes
run.py                how long, how fast, where to, and in what pieces (4.1)
optimizers.py         AdamW, in 32 or 8 bits a moment (4.1)
speedups.py           what makes a job fit and run fast, without changing what it learns
run_log.py            the log, TensorBoard beside it, the progress bar
training_loop.py      one accelerate loop: warm-up, EMA, checkpoint, exact resume (4.1)
decoder_training.py   D taught by what a model makes, or a smaller D in its place
live_bytes.py         bytes alive at once, counted while operations run
dry_run.py            a training step with the real modules and no memory
memory.py             how much memory a training needs, known before it runs
samples.py            pictures of a training run on its way
"""
