"""The cards of weights: words that people write, figures that the results write.

The files, in reading order:

card.py          the card of trained weights: how they were made, measured, and may be used
card_blocks.py   what the shipped card says in its blocks, worked out from what was measured
shipped_card.py  the shipped card: words that people write, figures that the results write
"""
