"""MLflowLog, with MLflow's files instead of a server."""

import pytest
from probes import FailAt, StopAfter, train

from vprtrain.callbacks import MLflowLog
from vprtrain.errors import RunError

mlflow = pytest.importorskip("mlflow", reason="vprtrain[mlflow] is not installed")


@pytest.fixture
def uri(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return (tmp_path / "mlruns").as_uri()


def only_run(uri):
    client = mlflow.MlflowClient(uri)
    number = client.get_experiment_by_name("toy").experiment_id
    (run,) = client.search_runs([number])
    return client, run


def test_numbers_parameters_and_the_end(tmp_path, uri):
    trained = train(MLflowLog(experiment="toy", tracking_uri=uri), run_dir=tmp_path / "run")
    client, run = only_run(uri)
    assert (run.info.run_name, run.info.status) == ("run", "FINISHED")
    assert run.data.params["max_epochs"] == "2"
    assert run.data.params["module.width"] == "16"
    assert run.data.metrics["validation/error"] == trained.result.metrics["error"]
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert sorted(each.step for each in history) == [1, 2, 4, 6, 8, 10, 12]
    assert (tmp_path / "run" / "mlflow_run_id").read_text() == run.info.run_id


def test_a_resume_goes_on_in_the_same_run(tmp_path, uri):
    def fit(*callbacks):
        train(MLflowLog(experiment="toy", tracking_uri=uri), *callbacks, run_dir=tmp_path / "run")

    fit(StopAfter(7))
    with pytest.raises(OSError, match="the disk is gone"):
        fit(FailAt(11))
    assert only_run(uri)[1].info.status == "FAILED"
    fit()
    client, run = only_run(uri)
    assert run.info.status == "FINISHED"
    history = client.get_metric_history(run.info.run_id, "train/loss")
    values = {(each.step, each.value) for each in history}
    assert sorted(step for step, _ in values) == [1, 2, 4, 6, 8, 10, 12]  # repeated: the same value


def test_a_tracker_that_is_not_there_ends_the_run_in_one_line(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(RunError, match=r"^MLflow: [^\n]*the checkpoints are intact$"):
        train(MLflowLog(tracking_uri="http://127.0.0.1:9"), run_dir=tmp_path)


def test_a_run_that_writes_nothing_logs_nothing(tmp_path, uri):
    train(MLflowLog(experiment="toy", tracking_uri=uri))
    assert list(tmp_path.iterdir()) == []
