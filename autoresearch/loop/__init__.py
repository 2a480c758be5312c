"""Run the night: `session.open_night` puts it together, and `research.Research` runs it.

commands/       what loop.py's commands do, by subject
start           which night is meant, from which commit it begins, with which constants
session         opens a night, composes the parts below, closes it
research        proposes, measures and decides until a limit
experimenter    takes one candidate from its source to its verdict and record
runner          makes one run that counts; repeats what the machine spoiled
readiness       waits until a run may begin: pauses, memory, disk
early_stopping  keeps the early stop's rule up to date
notebook        the night as it stands, which all of them read
context         what a proposer may know
validate        the final validation
transfer_night  the replay of another machine's findings
remotes         shared findings on the hub and in git repositories
sharing, samples, doctor
"""
