"""log_model: a trained encoder as MLflow's logged model of its run, with signature and example."""

from pipeline.export import backbone, example_of, training_of
from pipeline.runner.cli import run_stage
from pipeline.work.graph import Graph


def log_model(graph: Graph, label: str, seed: int) -> None:
    """Log the encoder of stage.run to its MLflow run, and print the address to load it by."""
    import mlflow
    import numpy as np
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    from pipeline.tracking.store import connect, uri

    training = training_of(graph, label, seed)
    model = backbone(graph, label, seed)
    client = connect()
    experiment = client.get_experiment_by_name(training.stage)
    identity = f"tags.identity = '{training.identity}'"
    runs = client.search_runs([experiment.experiment_id], identity) if experiment else []
    if not runs:
        raise ValueError(f"MLflow has no run {training.identity}; `python -m pipeline.track` delivers it")
    images, maps = (-1, model.mean.shape[1], -1, -1), (-1, model.out_channels, -1, -1)
    signature = ModelSignature(
        Schema([TensorSpec(np.dtype(np.float32), images)]), Schema([TensorSpec(np.dtype(np.float32), maps)])
    )
    mlflow.set_tracking_uri(uri())
    # Not within start_run, which would move the end of a finished run.
    mlflow.set_experiment(experiment_id=experiment.experiment_id)
    made = mlflow.initialize_logged_model("encoder", source_run_id=runs[0].info.run_id)
    info = mlflow.pytorch.log_model(
        model,
        name="encoder",
        model_id=made.model_id,
        signature=signature,
        input_example=example_of(model, training).numpy(),
        serialization_format="pt2",
        pip_requirements=["torch"],
    )
    client.log_outputs(runs[0].info.run_id, [LoggedModelOutput(made.model_id, step=0)])
    print(info.model_uri)


if __name__ == "__main__":
    run_stage("log_model", log_model)
