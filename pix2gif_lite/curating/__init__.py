"""A folder of GIFs, or a list of addresses, becomes pairs of frames with their motion (section 3.1).

The files, in reading order:

cuts.py             where one scene ends: corners that find their way back (3.1)
addresses.py        where a stranger's URL may lead: to the open internet or nowhere
public_web.py       one GET, to an address that was judged, bounded in time and size
download.py         a list of URLs to whole files, politely, and every URL's fate
captioned.py        which clips are curated, and what each is called
mirroring.py        what a caption says of the mirrored picture (4.1)
duplicates.py       which clips are nearly the same, and on which side of the split they are (3.1)
parallel.py         one pure function over many jobs, on all cores or a Dask cluster
curation_store.py   a curation's folder: what is done is not done again
curation_report.py  what became of every file, and what the data look like
curation.py         a folder or TGIF's list of GIFs becomes data to train on (3.1, Fig. 2)
curation_bench.py   how fast motion is measured, against the plain double loop
"""
