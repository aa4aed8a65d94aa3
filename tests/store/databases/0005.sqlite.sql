BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0005');
CREATE TABLE api_keys (
	id VARCHAR(40) NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	name TEXT NOT NULL, 
	scopes JSON NOT NULL, 
	secret_sha256 VARCHAR(64) NOT NULL, 
	created_at DOUBLE NOT NULL, 
	expires_at DOUBLE, 
	last_used_at DOUBLE, 
	revoked_at DOUBLE, 
	CONSTRAINT pk_api_keys PRIMARY KEY (id)
);
CREATE TABLE datasets (
	id VARCHAR(40) NOT NULL, 
	name TEXT NOT NULL, 
	format VARCHAR(16) NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	num_rows BIGINT NOT NULL, 
	columns JSON NOT NULL, 
	artifact TEXT NOT NULL, 
	created_at DOUBLE NOT NULL, options JSON DEFAULT '{}' NOT NULL, warnings JSON DEFAULT '[]' NOT NULL, tenant VARCHAR(64) DEFAULT 'default' NOT NULL, 
	CONSTRAINT pk_datasets PRIMARY KEY (id)
);
INSERT INTO "datasets" VALUES('ds_01m8s9294x4f8nhd3ap8dmrn4v','flowers.csv','csv',1155,'4d72b66199ab0508b1d59a25ba15ceda1d7e9306ad8036c01f073617981f6247',60,'[{"name": "length", "type": "numeric", "stored_as": "number", "integral": false, "num_missing": 0, "num_distinct": 60, "minimum": -2.325, "maximum": 1.96, "mean": 0.07728333333333332, "standard_deviation": 0.8974051498936004, "earliest": null, "latest": null, "top_values": []}, {"name": "petals", "type": "numeric", "stored_as": "number", "integral": true, "num_missing": 0, "num_distinct": 9, "minimum": 0.0, "maximum": 8.0, "mean": 4.4, "standard_deviation": 2.665833203084294, "earliest": null, "latest": null, "top_values": [{"value": 8, "count": 13}, {"value": 3, "count": 9}, {"value": 6, "count": 8}, {"value": 5, "count": 7}, {"value": 0, "count": 6}, {"value": 1, "count": 6}, {"value": 4, "count": 6}, {"value": 2, "count": 3}, {"value": 7, "count": 2}]}, {"name": "wild", "type": "boolean", "stored_as": "boolean", "integral": false, "num_missing": 0, "num_distinct": 2, "minimum": null, "maximum": null, "mean": null, "standard_deviation": null, "earliest": null, "latest": null, "top_values": [{"value": true, "count": 32}, {"value": false, "count": 28}]}, {"name": "label", "type": "categorical", "stored_as": "text", "integral": false, "num_missing": 0, "num_distinct": 2, "minimum": null, "maximum": null, "mean": null, "standard_deviation": null, "earliest": null, "latest": null, "top_values": [{"value": "iris", "count": 32}, {"value": "rose", "count": 28}]}]','datasets/ds_01m8s9294x4f8nhd3ap8dmrn4v.fc5eeac6061afdb7410c71faf4803eb2827487b11f6095749b689ce423beab6a.parquet',1.79614470262798357012e+09,'{"delimiter": ",", "quote": "\"", "encoding": "utf-8", "header": true, "missing": ["", "NA", "na", "N/A", "n/a", "N.A.", "n.a.", "<NA>", "NaN", "nan", "NAN", "-NaN", "-nan", "NaT", "None", "NULL", "null", "Null", "(null)", "<null>", "\\N", "#N/A", "#N/A N/A", "#NA", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!", "#CALC!", "#SPILL!", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN", "?", "-", "--", "---", "\u2013", "\u2014", ".", ".."], "lenient": []}','[]','default');
CREATE TABLE epochs (
	job_id VARCHAR(40) NOT NULL, 
	epoch INTEGER NOT NULL, 
	train_loss DOUBLE NOT NULL, 
	validation_loss DOUBLE, 
	validation_score DOUBLE, 
	learning_rate DOUBLE NOT NULL, 
	samples_per_second DOUBLE NOT NULL, 
	recorded_at DOUBLE NOT NULL, monitored DOUBLE, 
	CONSTRAINT pk_epochs PRIMARY KEY (job_id, epoch), 
	CONSTRAINT fk_epochs_job_id FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);
INSERT INTO "epochs" VALUES('job_01m8s9295j35y7h31zhb912kvd',1,7.79430031776428222656e-01,0.690612256526947,6.66666666666666629659e-01,0.001,8.1779391435890147477e+02,1.7961447067740082741e+09,NULL);
INSERT INTO "epochs" VALUES('job_01m8s9295j35y7h31zhb912kvd',2,8.04192225138346317159e-01,6.87886536121368408203e-01,6.66666666666666629659e-01,0.001,3.43312277138514691625e+04,1.79614470678998088839e+09,NULL);
INSERT INTO "epochs" VALUES('job_01m8s9295j35y7h31zhb912kvd',3,0.790193518002828,6.85301721096038818359e-01,6.66666666666666629659e-01,0.001,5.18905455411667862778e+04,1.79614470679601573939e+09,NULL);
INSERT INTO "epochs" VALUES('job_01m8s92gvhbn5j2xr8130y13wv',1,0.7,0.8,0.5,0.001,12345.0,1.79614471051999473579e+09,NULL);
INSERT INTO "epochs" VALUES('job_01m8s92gvhbn5j2xr8130y13wv',2,0.35,0.4,0.5,0.001,12345.0,1.79614471052301216125e+09,NULL);
CREATE TABLE events (
	job_id VARCHAR(40) NOT NULL, 
	sequence INTEGER NOT NULL, 
	type VARCHAR(16) NOT NULL, 
	data JSON NOT NULL, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_events PRIMARY KEY (job_id, sequence), 
	CONSTRAINT fk_events_job_id FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);
INSERT INTO "events" VALUES('job_01m8s9295j35y7h31zhb912kvd',1,'queued','{}',1.79614470264600801464e+09);
INSERT INTO "events" VALUES('job_01m8s9295j35y7h31zhb912kvd',2,'running','{"attempt": 1}',1.79614470266000938415e+09);
INSERT INTO "events" VALUES('job_01m8s9295j35y7h31zhb912kvd',3,'step','{"attempt": 1, "step": "reading"}',1.79614470499799704552e+09);
INSERT INTO "events" VALUES('job_01m8s9295j35y7h31zhb912kvd',4,'step','{"attempt": 1, "step": "encoding"}',1.79614470505400156976e+09);
INSERT INTO "events" VALUES('job_01m8s9295j35y7h31zhb912kvd',5,'step','{"attempt": 1, "step": "scaling"}',1.79614470510099387173e+09);
INSERT INTO "events" VALUES('job_01m8s9295j35y7h31zhb912kvd',6,'step','{"attempt": 1, "step": "training"}',1.79614470670798563956e+09);
INSERT INTO "events" VALUES('job_01m8s9295j35y7h31zhb912kvd',7,'epoch','{"attempt": 1, "epoch": 1, "train_loss": 0.7794300317764282, "validation_loss": 0.690612256526947, "validation_score": 0.6666666666666666, "learning_rate": 0.001, "samples_per_second": 817.7939143589015, "monitored": null}',1.79614470677300238615e+09);
INSERT INTO "events" VALUES('job_01m8s9295j35y7h31zhb912kvd',8,'epoch','{"attempt": 1, "epoch": 2, "train_loss": 0.8041922251383463, "validation_loss": 0.6878865361213684, "validation_score": 0.6666666666666666, "learning_rate": 0.001, "samples_per_second": 34331.22771385147, "monitored": null}',1.79614470678998088839e+09);
INSERT INTO "events" VALUES('job_01m8s9295j35y7h31zhb912kvd',9,'epoch','{"attempt": 1, "epoch": 3, "train_loss": 0.790193518002828, "validation_loss": 0.6853017210960388, "validation_score": 0.6666666666666666, "learning_rate": 0.001, "samples_per_second": 51890.545541166786, "monitored": null}',1.79614470679601573939e+09);
INSERT INTO "events" VALUES('job_01m8s9295j35y7h31zhb912kvd',10,'step','{"attempt": 1, "step": "evaluating"}',1.79614470679698133475e+09);
INSERT INTO "events" VALUES('job_01m8s9295j35y7h31zhb912kvd',11,'succeeded','{"attempt": 1, "reason": "completed"}',1.79614470683801913256e+09);
INSERT INTO "events" VALUES('job_01m8s92d9ahh2fkf1ncyzy4n77',1,'queued','{}',1.79614470685898065566e+09);
INSERT INTO "events" VALUES('job_01m8s92d9ahh2fkf1ncyzy4n77',2,'running','{"attempt": 1}',1.79614470686300396924e+09);
INSERT INTO "events" VALUES('job_01m8s92d9ahh2fkf1ncyzy4n77',3,'step','{"attempt": 1, "step": "reading"}',1.79614470929501652716e+09);
INSERT INTO "events" VALUES('job_01m8s92d9ahh2fkf1ncyzy4n77',4,'step','{"attempt": 1, "step": "encoding"}',1.79614470933400249483e+09);
INSERT INTO "events" VALUES('job_01m8s92d9ahh2fkf1ncyzy4n77',5,'step','{"attempt": 1, "step": "scaling"}',1.79614470937001109119e+09);
INSERT INTO "events" VALUES('job_01m8s92d9ahh2fkf1ncyzy4n77',6,'step','{"attempt": 1, "step": "training"}',1.79614471047501420971e+09);
INSERT INTO "events" VALUES('job_01m8s92d9ahh2fkf1ncyzy4n77',7,'failed','{"attempt": 1, "reason": "diverged", "detail": "the loss became nan in epoch 1"}',1.79614471048000311857e+09);
INSERT INTO "events" VALUES('job_01m8s92gv42agh8pjx6a6zxx09',1,'queued','{}',1.79614471050100469587e+09);
INSERT INTO "events" VALUES('job_01m8s92gv42agh8pjx6a6zxx09',2,'cancelled','{"attempt": 0, "reason": "cancelled_by_user"}',1.79614471050800538062e+09);
INSERT INTO "events" VALUES('job_01m8s92gvhbn5j2xr8130y13wv',1,'queued','{}',1796144710.514);
INSERT INTO "events" VALUES('job_01m8s92gvhbn5j2xr8130y13wv',2,'running','{"attempt": 1}',1.7961447105189890861e+09);
INSERT INTO "events" VALUES('job_01m8s92gvhbn5j2xr8130y13wv',3,'epoch','{"attempt": 1, "epoch": 1, "train_loss": 0.7, "validation_loss": 0.8, "validation_score": 0.5, "learning_rate": 0.001, "samples_per_second": 12345.0}',1.79614471051999473579e+09);
INSERT INTO "events" VALUES('job_01m8s92gvhbn5j2xr8130y13wv',4,'epoch','{"attempt": 1, "epoch": 2, "train_loss": 0.35, "validation_loss": 0.4, "validation_score": 0.5, "learning_rate": 0.001, "samples_per_second": 12345.0}',1.79614471052200651169e+09);
INSERT INTO "events" VALUES('job_01m8s92gvyamr4ndsgfqhgy72j',1,'queued','{}',1.79614471052699542041e+09);
CREATE TABLE idempotency_keys (
	"key" VARCHAR(255) NOT NULL, 
	request_sha256 VARCHAR(64) NOT NULL, 
	status INTEGER, 
	headers JSON, 
	body JSON, 
	created_at DOUBLE NOT NULL, tenant VARCHAR(64) DEFAULT 'default' NOT NULL, 
	CONSTRAINT pk_idempotency_keys PRIMARY KEY ("key")
);
INSERT INTO "idempotency_keys" VALUES('6113f1f2aa4fecc3fbe1b2b7ff2909e1b1a375c83727b39f9e4f1e702b7d4cdc','087df596769dffb4659a2c1409e87e3726e8b457ca7e3bc620c77f797567908f',202,'{"Location": "/v1/jobs/job_01m8s9295j35y7h31zhb912kvd"}','{"id": "job_01m8s9295j35y7h31zhb912kvd", "name": "succeeded", "state": "queued", "state_reason": null, "detail": null, "dataset": "ds_01m8s9294x4f8nhd3ap8dmrn4v", "model": null, "progress": {"step": null, "epochs_completed": 0, "epochs": 3}, "attempt": 0, "resolved_config": {"name": "succeeded", "preset": "plain", "optimise_for": null, "dataset": {"id": "ds_01m8s9294x4f8nhd3ap8dmrn4v", "target": "label", "target_delimiter": null, "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "stratified", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "min_frequency": 1, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128, "number_embedding": null}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform", "zero_output": false, "parametric_activation": false, "input_scaling": false, "members": 1, "member_sharing": "backbone"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "weight_decay_schedule": null, "dropout_schedule": null, "layer_rates": "all", "loss": "squared", "quantiles": null, "calibrate": false, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}, "warnings": [], "metadata": {"team": "garden"}, "created_at": "2026-12-01T17:05:02.643Z", "started_at": null, "finished_at": null}',1.79614470264001345632e+09,'default');
CREATE TABLE jobs (
	id VARCHAR(40) NOT NULL, 
	dataset_id VARCHAR(40) NOT NULL, 
	spec JSON NOT NULL, 
	queue VARCHAR(16) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	state_reason VARCHAR(32), 
	detail TEXT, 
	attempt INTEGER NOT NULL, 
	failures INTEGER NOT NULL, 
	owner TEXT, 
	lease_expires_at DOUBLE, 
	run_after DOUBLE NOT NULL, 
	dispatched_at DOUBLE, 
	num_threads INTEGER, 
	epochs_completed INTEGER NOT NULL, 
	num_events INTEGER NOT NULL, 
	created_at DOUBLE NOT NULL, 
	started_at DOUBLE, 
	finished_at DOUBLE, warnings JSON DEFAULT '[]' NOT NULL, tenant VARCHAR(64) DEFAULT 'default' NOT NULL, traceparent VARCHAR(55), step VARCHAR(16), keep_model BOOLEAN DEFAULT 0 NOT NULL, name TEXT, 
	CONSTRAINT pk_jobs PRIMARY KEY (id)
);
INSERT INTO "jobs" VALUES('job_01m8s9295j35y7h31zhb912kvd','ds_01m8s9294x4f8nhd3ap8dmrn4v','{"name": "succeeded", "dataset": {"id": "ds_01m8s9294x4f8nhd3ap8dmrn4v", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "stratified", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}','cpu','succeeded','completed',NULL,1,0,NULL,NULL,1.79614470264399647713e+09,NULL,1,3,11,1.79614470264399647713e+09,1.79614470265799760825e+09,1.79614470683701324456e+09,'[]','default',NULL,NULL,0,'succeeded');
INSERT INTO "jobs" VALUES('job_01m8s92d9ahh2fkf1ncyzy4n77','ds_01m8s9294x4f8nhd3ap8dmrn4v','{"name": "failed", "dataset": {"id": "ds_01m8s9294x4f8nhd3ap8dmrn4v", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "stratified", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "sgd", "lr": 1e+30, "momentum": 0.0, "nesterov": false, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}','cpu','failed','diverged','the loss became nan in epoch 1',1,0,NULL,NULL,1.79614470685898065566e+09,NULL,1,0,7,1.79614470685898065566e+09,1.79614470686300396924e+09,1.79614471048000311857e+09,'[]','default',NULL,NULL,0,'failed');
INSERT INTO "jobs" VALUES('job_01m8s92gv42agh8pjx6a6zxx09','ds_01m8s9294x4f8nhd3ap8dmrn4v','{"name": "cancelled", "dataset": {"id": "ds_01m8s9294x4f8nhd3ap8dmrn4v", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "stratified", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}','cpu','cancelled','cancelled_by_user',NULL,0,0,NULL,NULL,1.79614471049999904631e+09,NULL,NULL,0,2,1.79614471049999904631e+09,NULL,1.79614471050699949263e+09,'[]','default',NULL,NULL,0,'cancelled');
INSERT INTO "jobs" VALUES('job_01m8s92gvhbn5j2xr8130y13wv','ds_01m8s9294x4f8nhd3ap8dmrn4v','{"name": "running", "dataset": {"id": "ds_01m8s9294x4f8nhd3ap8dmrn4v", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "stratified", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}','cpu','running',NULL,NULL,1,0,'worker-1',1.79614471151798319814e+09,1796144710.514,NULL,1,2,4,1796144710.514,1.79614471051798319815e+09,NULL,'[]','default',NULL,NULL,0,'running');
INSERT INTO "jobs" VALUES('job_01m8s92gvyamr4ndsgfqhgy72j','ds_01m8s9294x4f8nhd3ap8dmrn4v','{"name": "queued", "dataset": {"id": "ds_01m8s9294x4f8nhd3ap8dmrn4v", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "stratified", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}','cpu','queued',NULL,NULL,0,0,NULL,NULL,1.79614471052598953246e+09,NULL,NULL,0,1,1.79614471052598953246e+09,NULL,NULL,'[]','default',NULL,NULL,0,'queued');
CREATE TABLE model_aliases (
	tenant VARCHAR(64) NOT NULL, 
	name TEXT NOT NULL, 
	alias VARCHAR(64) NOT NULL, 
	model_id VARCHAR(40) NOT NULL, 
	CONSTRAINT pk_model_aliases PRIMARY KEY (tenant, name, alias), 
	CONSTRAINT fk_model_aliases_model_id FOREIGN KEY(model_id) REFERENCES models (id)
);
CREATE TABLE model_names (
	tenant VARCHAR(64) NOT NULL, 
	name TEXT NOT NULL, 
	last_version INTEGER NOT NULL, 
	CONSTRAINT pk_model_names PRIMARY KEY (tenant, name)
);
INSERT INTO "model_names" VALUES('default','succeeded',1);
CREATE TABLE models (
	id VARCHAR(40) NOT NULL, 
	job_id VARCHAR(40) NOT NULL, 
	name TEXT, 
	manifest JSON NOT NULL, 
	metrics JSON NOT NULL, 
	num_parameters BIGINT NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	artifact TEXT NOT NULL, 
	created_at DOUBLE NOT NULL, tenant VARCHAR(64) DEFAULT 'default' NOT NULL, version INTEGER, served BOOLEAN DEFAULT 1 NOT NULL, 
	CONSTRAINT pk_models PRIMARY KEY (id), 
	CONSTRAINT uq_models_job_id UNIQUE (job_id)
);
INSERT INTO "models" VALUES('mdl_01m8s92d8qgx5zad398jmtyq60','job_01m8s9295j35y7h31zhb912kvd','succeeded','{"format_version": 2, "task": "binary", "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "encoder": {"features": [{"type": "numeric", "name": "length", "may_be_missing": false}, {"type": "numeric", "name": "petals", "may_be_missing": false}, {"type": "boolean", "name": "wild", "may_be_missing": false}], "columns": ["length", "petals", "wild"], "missing": ["", "NA", "na", "N/A", "n/a", "N.A.", "n.a.", "<NA>", "NaN", "nan", "NAN", "-NaN", "-nan", "NaT", "None", "NULL", "null", "Null", "(null)", "<null>", "\\N", "#N/A", "#N/A N/A", "#NA", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!", "#CALC!", "#SPILL!", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN", "?", "-", "--", "---", "\u2013", "\u2014", ".", ".."]}, "targets": ["label"], "classes": ["iris", "rose"], "trained_on": "cpu/avx512/torch-2.13.0+cpu/threads-1", "weights_sha256": "efbd63ebc8de6d2f1a30aa039a5ae6accc86adb3228ef25c7bb4c57b3a75fbf3"}','{"validation": {"num_rows": 6, "metrics": {"accuracy": 0.6666666666666666, "balanced_accuracy": 0.6666666666666666, "f1": 0.75, "roc_auc": 0.6666666666666666, "average_precision": 0.7555555555555555, "log_loss": 0.6853016993597815, "brier": 0.24609660036657754, "expected_calibration_error": 0.14278533664925808}, "confusion_matrix": [[1, 2], [0, 3]], "per_class": [{"class": "iris", "num_rows": 3, "precision": 1.0, "recall": 0.3333333333333333, "f1": 0.5, "roc_auc": 0.6666666666666666, "average_precision": 0.7555555555555555}, {"class": "rose", "num_rows": 3, "precision": 0.6, "recall": 1.0, "f1": 0.75, "roc_auc": 0.6666666666666666, "average_precision": 0.7555555555555555}], "per_target": null, "reliability": [{"lower": 0.5, "upper": 0.6, "num_rows": 6, "mean_confidence": 0.5238813300174086, "accuracy": 0.6666666666666666}]}, "test": {"num_rows": 6, "metrics": {"accuracy": 0.3333333333333333, "balanced_accuracy": 0.3333333333333333, "f1": 0.0, "roc_auc": 0.6666666666666666, "average_precision": 0.6388888888888888, "log_loss": 0.7054376707016007, "brier": 0.25609778898508434, "expected_calibration_error": 0.18862892707225912}, "confusion_matrix": [[2, 1], [3, 0]], "per_class": [{"class": "iris", "num_rows": 3, "precision": 0.4, "recall": 0.6666666666666666, "f1": 0.5, "roc_auc": 0.6666666666666666, "average_precision": 0.8333333333333334}, {"class": "rose", "num_rows": 3, "precision": 0.0, "recall": 0.0, "f1": 0.0, "roc_auc": 0.6666666666666666, "average_precision": 0.6388888888888888}], "per_target": null, "reliability": [{"lower": 0.5, "upper": 0.6, "num_rows": 6, "mean_confidence": 0.5219622604055925, "accuracy": 0.3333333333333333}]}}',26,984,'jobs/job_01m8s9295j35y7h31zhb912kvd/1/model',1.79614470683999061587e+09,'default',1,1);
CREATE TABLE request_rates (
	tenant VARCHAR(64) NOT NULL, 
	full_at DOUBLE NOT NULL, 
	CONSTRAINT pk_request_rates PRIMARY KEY (tenant)
);
CREATE INDEX ix_jobs_state_run_after ON jobs (state, run_after);
CREATE INDEX ix_datasets_tenant_id ON datasets (tenant, id);
CREATE INDEX ix_jobs_tenant_id ON jobs (tenant, id);
CREATE INDEX ix_models_tenant_id ON models (tenant, id);
CREATE INDEX ix_model_aliases_model_id ON model_aliases (model_id);
CREATE UNIQUE INDEX uq_models_tenant_name_version ON models (tenant, name, version);
CREATE INDEX ix_datasets_tenant_name ON datasets (tenant, name, id);
CREATE INDEX ix_jobs_tenant_name ON jobs (tenant, name, id);
CREATE INDEX ix_models_tenant_name ON models (tenant, name, id);
CREATE INDEX ix_jobs_tenant_state ON jobs (tenant, state, id);
CREATE INDEX ix_jobs_dataset_id ON jobs (dataset_id, id);
COMMIT;
