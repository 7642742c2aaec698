"""What a training draws its samples from, and what of it is encoded once.

The files, in reading order:

training_data.py  drawn frames and photographs, keyed by sample number
photo_moves.py    how a whole picture can move, each move with its inverse, and the words for it
photo_crops.py    square crops of still pictures, with what lies around them
pair_data.py      curated pairs as a torch Dataset (3.1)
latent_cache.py   E runs over the data once
pair_latents.py   curated pairs as the model learns from them, each frame encoded once
mixture.py        which data, and how much of each
text_cache.py     the frozen text encoder runs once over all prompts
"""
