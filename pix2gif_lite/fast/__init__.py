"""The same weights by a shorter way, and what is kept between two calls.

The files, in reading order:

kept.py            what was asked for last, up to so many bytes
laid.py            convolutions whose weights stay, laid out once for the CPU
direct_unet.py     diffusers' UNet by a shorter way: the same weights, fewer detours
direct_decoder.py  D by a shorter way, the same way
one_picture.py     FlowNet for a picture that stays: what does not depend on the motion is kept
"""
