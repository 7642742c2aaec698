"""The parts of the speed table.

The files, in reading order:

bench_plan.py       how much of the benchmark is run
bench_timing.py     medians after a warm-up, operations counted, growth as a power
bench_parts.py      what a benchmark has measured so far: stopped, it goes on where it was
bench_reference.py  the published code's recipe, as the thing to be faster than (4.1)
bench_diffusers.py  diffusers' own InstructPix2Pix around our parts
bench_quality.py    how good a way of asking is, on the same scenes for all
bench_rows.py       the ways to make one GIF that are timed beside each other
bench_live.py       a move of the slider, from arguments to PNG bytes
bench_cold.py       a fresh process: import, first GIF, memory
bench_training.py   training on latents encoded once, and at every step
bench_growth.py     seconds against frames, pixels and steps
bench_report.py     how the benchmark reads
"""
