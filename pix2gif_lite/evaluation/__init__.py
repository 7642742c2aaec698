"""Measuring generated frames: the tables, the studies, the paper's variants trained anew (section 4).

The files, in reading order:

generating.py         many frames at once, beside the exact ones of scenes or photographs
temporal.py           neighbouring frames compared along the exact motion between them
measuring.py          all that can be measured of them
summary.py            what measured columns come to on average
network_metrics.py    LPIPS, PIC, CLIPSim, I3D: metrics that look through others' networks (Tab. 1)
fvd.py                how far one cloud of clips is from another (Tab. 1)
side_rows.py          rows of the table that need frames of their own
held_out.py           pairs that training never drew, against seen scenes of the same subjects
studies.py            the same weights asked otherwise: noise, guidance, steps, two actions (4.1, Fig. 6)
studies_report.py     how the studies read, and steps against quality as a figure
quality_rows.py       the rows of the quality table: what each says, and what was aimed at
report.py             how results read
paper_tables.py       the paper's Tables 1 and 2, as data (Tab. 1-2)
video_folders.py      captioned videos in UCF-101's and MSR-VTT's layout (4.1)
zero_shot.py          generated clips beside real ones, resumable clip by clip (4.1, Tab. 1)
zero_shot_report.py   how zero-shot results read: Table 1's layout (Tab. 1)
ablation.py           the paper's variants, trained anew on one budget and measured (4.3, Tab. 2)
ablation_claims.py    which setting is better at what, seed by seed; whether the paper's claims hold (4.3)
ablation_report.py    Table 2 at our scale, mean and spread over seeds (Tab. 2)
ablation_pictures.py  the same scenes by every variant, and their curves (4.3)
"""
