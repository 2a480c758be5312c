"""Run the night: `session.open_night` puts it together, and `research.Research` runs it.

commands/       what loop.py's commands do, by subject
start           which night is meant, from which commit it begins
session         opens a night, composes the parts below, closes it
research        proposes, measures and decides until a limit
experimenter    takes one candidate from its source to its verdict and record
runner          makes one run that counts; repeats what the machine spoiled
readiness       waits until a run may begin: pauses, memory, disk
early_stopping  keeps the early stop's rule up to date
notebook        the night as it stands, which all of them read
context         what a proposer may know
posted          takes hypotheses from the inbox
validate        the final validation
fleet_night     a night on several machines, a part for each class of them
transfer_night  the replay of another machine's findings
own_file        a person's version for `try`; adoption: a night's changes for the person's file
doctor          checks a machine, and task_doctor a declared task; checkup holds what they share
sharing         findings as files; remotes: on the hub and in git repositories
samples, notify, baseline_advice
"""
