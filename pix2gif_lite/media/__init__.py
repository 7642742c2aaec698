"""Pictures, animations and videos of strangers come in; a PNG goes out.

The files, in reading order:

pictures.py  pictures from strangers come in as plain RGB, or are refused
patches.py   the rectangles that a GIF or APNG stores, laid as FFmpeg lays them
videos.py    videos come in, each frame with its own time
clips.py     animations come in frame by frame, told by their content
png.py       a PNG, packed quickly rather than tightly
"""
