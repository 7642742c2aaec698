"""What the drawn scenes are made of: subjects, backdrops, words, actions, and how they are drawn.

The files, in reading order:

subjects.py   sixteen drawn subjects
backdrops.py  eight still backgrounds
captions.py   the words of the drawn data
actions.py    sixteen actions as deformations
casting.py    who plays in a scene; what each split leaves out
drawing.py    a batch of scenes to pictures, layers and exact flow
"""
