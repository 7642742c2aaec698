"""The options of the larger commands, and what each command checks and calls.

The files, in reading order:

options.py           how options are declared: ranges from one table, a mistake as one sentence
train_options.py     the options of train
evaluate_options.py  the options of evaluate
bench_options.py     the options of bench
train_command.py     what train checks and calls
evaluate_command.py  what evaluate checks and calls
bench_command.py     what bench checks and calls
commands.py          what the commands do
"""
