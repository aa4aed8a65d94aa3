"""The worked example on the API's front page. A test runs it as it stands."""

WALKTHROUGH = """\
# Sixty flowers of two kinds, by the length and width of their petals
python3 - > flowers.csv <<'PYTHON'
import random
random.seed(0)
print("petal_length,petal_width,species")
for _ in range(30):
    print(f"{random.gauss(1.5, 0.2):.2f},{random.gauss(0.25, 0.1):.2f},setosa")
    print(f"{random.gauss(4.3, 0.5):.2f},{random.gauss(1.3, 0.2):.2f},versicolor")
PYTHON

# Upload the table
dataset=$(curl --fail --silent "$SERVICE/v1/datasets" --form file=@flowers.csv --form name=flowers |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])')

# Submit a job
job=$(curl --fail --silent "$SERVICE/v1/jobs" --json '{
  "dataset": {"id": "'$dataset'", "target": "species"},
  "model": {"hidden": [32], "hidden_dropout": 0.2},
  "training": {"epochs": 20, "batch_size": 16}
}' | python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])')

# Watch it until it is over
curl --fail --silent --no-buffer "$SERVICE/v1/jobs/$job/events" --header 'Accept: text/event-stream'

# Predict two flowers
model=$(curl --fail --silent "$SERVICE/v1/jobs/$job" |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["model"])')
curl --fail --silent "$SERVICE/v1/models/$model/predict" --json '{
  "instances": [{"petal_length": 1.4, "petal_width": 0.2}, [4.5, 1.4]]
}'
"""

DESCRIPTION = f"""\
Submit a table and an MLP config; get a well-regularised model, its training curves as they happen,
and predictions that are the same bits every time.

The whole way, as it stands, for a shell with `curl` and `python3`; first set `SERVICE` to the
address of this page, such as `export SERVICE=http://127.0.0.1:8000`:

```sh
{WALKTHROUGH}```

Errors are `application/problem+json` (RFC 9457): `errors` holds JSON pointers to what is wrong.
"""
