"""Reading weights that others made or saved: the Hub, folders, Stable Diffusion, InstructPix2Pix, the reference's checkpoint.

The files, in reading order:

vocabulary.py      a tokenizer without the entries that no text needs
completeness.py    a folder of weights is whole, or what is missing is named
hub.py             the Hub: only what is needed comes down, only ours goes up
loading.py         reading a folder of weights that a stranger made
reach.py           networks that others bring: in reach, or one sentence on what is missing
parent_layout.py   what a parent's folder says of itself, and what of it does not fit (4.1)
parents.py         Stable Diffusion or InstructPix2Pix becomes a Pix2Gif that computes the same (4.1)
small_parent.py    a small random checkpoint in exactly the parents' layout
reference_keys.py  what the reference calls each weight, and which sizes its shapes tell (3.3)
reference_file.py  the reference's checkpoint, read without running anything in it
reference.py       the reference's checkpoint becomes our parts (3)
starting.py        what training starts from, told apart (4.1)
"""
