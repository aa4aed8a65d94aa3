"""What every route of the API demands, as a table to compare the app with."""

PROBLEM = "application/problem+json"
PROTOCOL = "application/json"
V1, V2 = PROBLEM, PROTOCOL

# Method and path: scope, class of the body, media type of errors.
ROUTES = {
    "GET /": ("open", "config", PROBLEM),
    "GET /docs": ("open", "config", PROBLEM),
    "GET /openapi.json": ("open", "config", PROBLEM),
    "GET /static-offline-docs": ("open", "config", PROBLEM),
    "GET /livez": ("open", "config", PROBLEM),
    "GET /readyz": ("open", "config", PROBLEM),
    "GET /metrics": ("admin", "config", PROBLEM),
    "GET /v1/datasets": ("read", "config", V1),
    "POST /v1/datasets": ("train", "file", V1),
    "GET /v1/datasets/{dataset_id}": ("read", "config", V1),
    "GET /v1/datasets/{dataset_id}/rows": ("read", "config", V1),
    "DELETE /v1/datasets/{dataset_id}": ("train", "config", V1),
    "GET /v1/presets": ("read", "config", V1),
    "GET /v1/presets/{preset}": ("read", "config", V1),
    "GET /v1/jobs": ("read", "config", V1),
    "POST /v1/jobs": ("train", "columns", V1),
    "GET /v1/jobs/{job_id}": ("read", "config", V1),
    "DELETE /v1/jobs/{job_id}": ("train", "config", V1),
    "POST /v1/jobs/{job_id}/cancel": ("train", "config", V1),
    "GET /v1/jobs/{job_id}/metrics": ("read", "config", V1),
    "GET /v1/jobs/{job_id}/events": ("read", "config", V1),
    "GET /v1/models": ("read", "config", V1),
    "GET /v1/models/{model_id}": ("read", "config", V1),
    "GET /v1/models/{model_id}/card": ("read", "config", V1),
    "GET /v1/models/{model_id}/export": ("read", "config", V1),
    "DELETE /v1/models/{model_id}": ("train", "config", V1),
    "GET /v1/names": ("read", "config", V1),
    "GET /v1/names/{name}": ("read", "config", V1),
    "PUT /v1/names/{name}/aliases/{alias}": ("train", "config", V1),
    "DELETE /v1/names/{name}/aliases/{alias}": ("train", "config", V1),
    "POST /v1/models/{model_id}/predict": ("predict", "rows", V1),
    "POST /v1/models/{model_id}/predict-file": ("predict", "file", V1),
    "POST /v1/models/{model_id}/evaluate": ("predict", "config", V1),
    "POST /v1/models/{model_id}/importance": ("predict", "config", V1),
    "GET /v2": ("read", "config", V2),
    "GET /v2/health/live": ("open", "config", V2),
    "GET /v2/health/ready": ("open", "config", V2),
    "GET /v2/models/stats": ("read", "config", V2),
    "GET /v2/models/{model}": ("read", "config", V2),
    "GET /v2/models/{model}/ready": ("read", "config", V2),
    "GET /v2/models/{model}/config": ("read", "config", V2),
    "GET /v2/models/{model}/stats": ("read", "config", V2),
    "GET /v2/models/{model}/versions/{version}": ("read", "config", V2),
    "GET /v2/models/{model}/versions/{version}/ready": ("read", "config", V2),
    "GET /v2/models/{model}/versions/{version}/config": ("read", "config", V2),
    "GET /v2/models/{model}/versions/{version}/stats": ("read", "config", V2),
    "POST /v2/models/{model}/infer": ("predict", "rows", V2),
    "POST /v2/models/{model}/versions/{version}/infer": ("predict", "rows", V2),
    "POST /v2/repository/index": ("read", "config", V2),
    "POST /v2/repository/models/{model}/load": ("train", "config", V2),
    "POST /v2/repository/models/{model}/unload": ("train", "config", V2),
}

UNDOCUMENTED = {"GET /", "GET /docs", "GET /openapi.json", "GET /static-offline-docs"}
DOCUMENTED = ROUTES.keys() - UNDOCUMENTED
