"""The worked example on the API's front page. A test runs it unchanged."""

WALKTHROUGH = """\
# A table of four hundred flats, with words, dates and missing values
python3 - > flats.csv <<'PYTHON'
import random
random.seed(0)
print("district;area;rooms;heating;free from;lift;rent")
for _ in range(400):
    district, price = random.choice([("Altona", 17), ("Eimsbüttel", 19), ("Wandsbek", 13)])
    area = round(random.gauss(70, 20))
    heating = random.choice(["gas", "district", "heat pump", ""])
    rooms = random.choice([area // 25 + 1, area // 25, "n/a"])
    month = random.randint(1, 12)
    rent = area * price * (1.06 if heating == "heat pump" else 1) + random.gauss(0, 40)
    lift = random.choice(["true", "false"])
    print(f"{district};{area};{rooms};{heating};2026-{month:02}-01;{lift};{rent:.2f}")
PYTHON

# Upload the table: delimiter, types, dates and missing values are detected
dataset=$(curl --fail --silent "$SERVICE/v1/datasets" --form file=@flats.csv --form name=flats |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])')

# Submit a job: only the column to predict is required
job=$(curl --fail --silent "$SERVICE/v1/jobs" --json '{
  "dataset": {"id": "'$dataset'", "target": "rent"}
}' | python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])')

# Watch it until it ends
curl --fail --silent --no-buffer "$SERVICE/v1/jobs/$job/events" --header 'Accept: text/event-stream'

# Print its scores on the flats that it held out
model=$(curl --fail --silent "$SERVICE/v1/jobs/$job" |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["model"])')
curl --fail --silent "$SERVICE/v1/models/$model" |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["metrics"]["test"]["metrics"])'

# Predict two flats: one is in an unknown district, and both have missing values
curl --fail --silent "$SERVICE/v1/models/$model/predict" --json '{
  "instances": [
    {"district": "Altona", "area": 80, "rooms": 3, "heating": "gas", "free from": "2026-05-01",
     "lift": true},
    {"district": "Bergedorf", "area": 55, "free from": "2026-11-01", "lift": false}
  ]
}'

# Predict a whole file: the answer is the file with the predictions added
curl --fail --silent "$SERVICE/v1/models/$model/predict-file" --form file=@flats.csv | sed -n 1,3p

# Measure how much the model depends on each feature
curl --fail --silent "$SERVICE/v1/models/$model/importance" --json '{}'
"""

DESCRIPTION = f"""\
Submit a table and an MLP config; get a well-regularised model, its training curves as they happen,
and predictions that are the same bits every time.

A complete example, for a shell with `curl` and `python3`; first set `SERVICE` to the address of
this page, such as `export SERVICE=http://127.0.0.1:8000`:

```sh
{WALKTHROUGH}```

Errors are `application/problem+json` (RFC 9457); `errors` has a JSON pointer to each wrong value.
Under `/v2` they are JSON with a text `error`, as the Open Inference Protocol defines them.

Lists are newest first. `?after=` with the `last_id` of a page is the next page, with the same
filters and `order`; `created_after` with the newest time seen finds what is new.

HEAD is answered wherever GET is. A body may have the `Content-Encoding` `gzip` or `deflate`.

A call refuses (422) a query parameter that it does not list here, or that is given twice.
"""
