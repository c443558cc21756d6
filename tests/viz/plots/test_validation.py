"""The curves of a fine-tuning run."""

from fourdc_jax.viz.plots import validation


def test_only_what_was_logged_is_drawn_in_three_panels(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        validation, "draw_panel", lambda axes, title, curves: drawn.update({title: list(curves)})
    )
    history = [
        {"step": 1, "loss": 2.0, "accuracy": 0.1, "learning_rate": 0.1},
        {"step": 1, "val_miou": 0.2, "val_other": 0.1},
    ]
    path = tmp_path / "pictures" / "curves.png"
    drawn_path = validation.draw_validation(
        history, path, losses=("loss", "box_loss"), scores=("val_miou", "val_macc")
    )
    assert drawn_path == path
    assert path.is_file()
    assert drawn == {
        "loss": ["loss"],
        "validation": ["val_miou"],
        "learning rate": ["learning_rate"],
    }
