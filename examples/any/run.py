"""Predict a value for each input and leave the predictions in ./out, where the judge finds them."""

import json
import sys
from pathlib import Path

from model import predict

inputs = [float(line) for line in Path(sys.argv[1]).read_text().split()]
Path("out/predictions.json").write_text(json.dumps([float(predict(x)) for x in inputs]))
