"""What stands behind the widgets, without a widget.

The files, in reading order:

curves.py    motion as a curve over the frames
gallery.py   drawn scenes to begin with, and captions that suit them
studio.py    what stands behind the sliders: frames and GIFs, each made once
newest.py    one thread, one slot: only the newest request is done next
panel.py     what the studio shows, as HTML
controls.py  the studio's controls and where they stand
"""
