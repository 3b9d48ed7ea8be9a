"""MLflow's own pages against our API: each shows what was logged, without one failed request or complaint."""

import re

import pytest
from playwright.sync_api import expect

from browser.conftest import Gallery
from browser.visitor import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.e2e]

BARRELS = [f"barrel-{number}" for number in range(10)]

ROWS = """
names => {
    const rows = [...document.querySelectorAll(".ag-row a[href*='/runs/']")];
    const at = link => Number(link.closest(".ag-row").getAttribute("row-index"));
    const seen = rows.sort((one, other) => at(one) - at(other)).map(link => link.innerText.trim());
    return JSON.stringify(seen) === JSON.stringify(names);
}
"""
"""Whether the table of runs has these from top to bottom; its rows are in no order in the page."""

MARKS = """
([kind, counts]) => JSON.stringify(counts) === JSON.stringify(
    [...document.querySelectorAll(".js-plotly-plot")].map(plot => plot.querySelectorAll(kind).length))
"""
"""Whether the charts, from left to right, have so many marks of a kind."""


def await_rows(visitor: Visitor, *names: str) -> None:
    visitor.page.wait_for_function(ROWS, arg=list(names))


def await_marks(visitor: Visitor, kind: str, *counts: int) -> None:
    visitor.page.wait_for_function(MARKS, arg=[kind, list(counts)])


# --- experiments -------------------------------------------------------------------------


def test_experiments_are_listed_and_found_by_name(visitor: Visitor, gallery: Gallery) -> None:
    visitor.open("#/experiments")
    visitor.see("vineyard", "which grape is it", "Default")
    visitor.keep("experiments")
    visitor.page.get_by_placeholder("Search experiments").fill("vine")
    visitor.page.keyboard.press("Enter")
    expect(visitor.page.get_by_role("link", name="Default", exact=True)).to_have_count(0)
    visitor.see("vineyard")


def test_an_experiment_is_created_and_opened(visitor: Visitor, gallery: Gallery) -> None:
    visitor.expected.append("get-by-name?experiment_name=orchard")  # the form asks whether the name is free
    visitor.open("#/experiments")
    visitor.page.get_by_role("button", name="Create").first.click()
    form = visitor.page.get_by_role("dialog")
    form.get_by_label("Experiment Name").fill("orchard")
    form.get_by_role("button", name="Create").click()
    visitor.see("orchard", "No runs logged")
    visitor.keep("experiment-created")
    made = gallery.ask("GET", "experiments/get-by-name?experiment_name=orchard")["experiment"]
    assert f"#/experiments/{made['experiment_id']}/" in visitor.page.url


def test_a_click_on_an_experiment_leads_to_its_runs(visitor: Visitor, gallery: Gallery) -> None:
    visitor.open("#/")
    visitor.see("Recent Experiments", "Default")
    visitor.keep("home")
    visitor.page.get_by_role("link", name="Experiments", exact=True).first.click()
    visitor.page.get_by_role("link", name="vineyard").first.click()
    await_rows(visitor, "bottled", *reversed(BARRELS))


# --- runs --------------------------------------------------------------------------------


def test_runs_are_listed_newest_first(visitor: Visitor, gallery: Gallery) -> None:
    visitor.open(f"#/experiments/{gallery.experiment}/runs")
    await_rows(visitor, "bottled", *reversed(BARRELS))
    visitor.see(re.compile("matching runs"), "gallery_script.py", re.compile("cellar-book"))
    visitor.keep("runs")


def test_runs_are_filtered(visitor: Visitor, gallery: Gallery) -> None:
    visitor.open(f"#/experiments/{gallery.experiment}/runs")
    await_rows(visitor, "bottled", *reversed(BARRELS))
    search = visitor.page.get_by_placeholder(re.compile("metrics.rmse"))
    search.fill("metrics.auc > 0.885 and params.family = 'linear' and tags.team LIKE 'cell%'")
    search.press("Enter")
    await_rows(visitor, "barrel-9", "barrel-7")
    visitor.keep("runs-filtered")


def test_runs_are_sorted_by_a_metric(visitor: Visitor, gallery: Gallery) -> None:
    visitor.open(f"#/experiments/{gallery.experiment}/runs")
    await_rows(visitor, "bottled", *reversed(BARRELS))
    visitor.page.get_by_role("button", name="Sort: Created").click()
    visitor.page.get_by_role("menuitemcheckbox", name="loss").click()
    await_rows(visitor, *reversed(BARRELS), "bottled")
    visitor.page.get_by_role("button", name="Sort: loss").click()
    visitor.page.get_by_role("button", name="Sort ascending").click()
    await_rows(visitor, *BARRELS, "bottled")
    visitor.keep("runs-sorted")


def test_ten_runs_are_charted(visitor: Visitor, gallery: Gallery) -> None:
    visitor.open(f"#/experiments/{gallery.experiment}/runs?compareRunsMode=CHART")
    visitor.see("auc", "loss", "recall")
    await_marks(visitor, ".scatterlayer .point", 9 * 20 + 2, 9 * 20, 0)  # the newest ten: bottled and nine barrels
    await_marks(visitor, ".barlayer .point", 0, 0, 1)
    visitor.keep("chart")


def test_a_data_set_is_shown_in_a_drawer(visitor: Visitor, gallery: Gallery) -> None:
    visitor.open(f"#/experiments/{gallery.experiment}/runs")
    visitor.page.get_by_text(re.compile("cellar-book")).first.click()
    drawer = visitor.page.get_by_role("dialog")
    visitor.see("1 datasets used", "alcohol", "malic_acid", "60", within=drawer)
    visitor.keep("data-set")


def test_two_runs_are_compared(visitor: Visitor, gallery: Gallery) -> None:
    visitor.open(f"#/experiments/{gallery.experiment}/runs")
    await_rows(visitor, "bottled", *reversed(BARRELS))
    for row in (1, 2):
        visitor.page.locator(f".ag-row[row-index='{row}'] input[type=checkbox]").first.check()
    visitor.page.get_by_role("button", name="Compare").click()
    visitor.see("Comparing 2 Runs from 1 Experiment", "barrel-9", "barrel-8", "0.889", "0.888")
    visitor.keep("compare")


def test_a_run_is_deleted_found_among_the_deleted_and_restored(visitor: Visitor, gallery: Gallery) -> None:
    experiment = gallery.experiment_with("press", "kept", "spilt")
    page = visitor.page
    visitor.open(f"#/experiments/{experiment}/runs")
    await_rows(visitor, "spilt", "kept")
    page.locator(".ag-row[row-index='0'] input[type=checkbox]").first.check()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await_rows(visitor, "kept")
    page.get_by_text("State:").first.click()
    page.get_by_text("Deleted", exact=True).last.click()
    await_rows(visitor, "spilt")
    page.locator(".ag-row[row-index='0'] input[type=checkbox]").first.check()
    page.get_by_role("button", name="Restore").click()
    page.get_by_role("dialog").get_by_role("button", name="Restore").click()
    await_rows(visitor)
    found = gallery.ask("POST", "runs/search", json={"experiment_ids": [experiment]})["runs"]
    assert [run["info"]["run_name"] for run in found] == ["spilt", "kept"]


def test_a_second_page_of_runs_is_loaded(visitor: Visitor, gallery: Gallery) -> None:
    experiment = gallery.experiment_with("warehouse", *(f"crate-{number}" for number in range(101)))
    visitor.open(f"#/experiments/{experiment}/runs")
    visitor.see("crate-100")
    expect(visitor.page.get_by_text("crate-0", exact=True)).to_have_count(0)
    scroll = "() => document.querySelector('.ag-body-viewport').scrollTo(0, 100000)"
    visitor.page.evaluate(scroll)
    visitor.page.get_by_role("button", name="Load more").click()
    visitor.page.evaluate(scroll)
    visitor.see("crate-0", "101")
    visitor.keep("runs-second-page")


# --- one run -----------------------------------------------------------------------------


def test_a_run_shows_what_was_logged(visitor: Visitor, gallery: Gallery) -> None:
    visitor.open(f"#/experiments/{gallery.experiment}/runs/{gallery.bottled}")
    visitor.see("Metrics (2)", "0.93", "Parameters (1)", "linear", "Finished", gallery.bottled, "Logged models (1)")
    visitor.see(re.compile("cellar-book"), re.compile("sommelier"))
    visitor.keep("run")


def test_a_runs_metrics_are_charted(visitor: Visitor, gallery: Gallery) -> None:
    visitor.open(f"#/experiments/{gallery.experiment}/runs/{gallery.runs[3]}")
    visitor.see("barrel-3", "0.883")
    visitor.page.get_by_text("Model metrics", exact=True).click()
    await_marks(visitor, ".scatterlayer .point", 20, 20)
    visitor.keep("run-metrics")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_runs_files_are_shown(visitor: Visitor, gallery: Gallery, host: str) -> None:
    """Signed URLs are of 127.0.0.1: for a page of localhost they are of another origin, as S3's are in AWS."""
    visitor.move(host)
    visitor.open(f"#/experiments/{gallery.experiment}/runs/{gallery.bottled}/artifacts")
    visitor.page.get_by_text("notes", exact=True).click()
    visitor.page.get_by_text("taste.txt", exact=True).first.click()
    visitor.see("a hint of oak")
    visitor.page.get_by_text("curve.png", exact=True).first.click()
    picture = "() => [...document.querySelectorAll('main img')].some(each => each.naturalWidth === 640)"
    visitor.page.wait_for_function(picture)
    visitor.keep(f"run-files-{host}")
    visitor.page.get_by_text("report.html", exact=True).first.click()
    report = visitor.page.frame_locator("iframe").get_by_text("by script")
    expect(report).to_be_visible()


def test_a_run_is_renamed(visitor: Visitor, gallery: Gallery) -> None:
    experiment = gallery.experiment_with("cider", "first")
    (run,) = gallery.ask("POST", "runs/search", json={"experiment_ids": [experiment]})["runs"]
    run_id = run["info"]["run_id"]
    visitor.open(f"#/experiments/{experiment}/runs/{run_id}")
    visitor.see("first")
    visitor.page.get_by_label("more").or_(visitor.page.get_by_test_id("overflow-menu-trigger")).first.click()
    visitor.page.get_by_role("menuitem", name="Rename").click()
    visitor.page.get_by_role("dialog").get_by_role("textbox").fill("second")
    visitor.page.get_by_role("dialog").get_by_role("button", name="Save").click()
    visitor.see("second")
    assert gallery.ask("GET", f"runs/get?run_id={run_id}")["run"]["info"]["run_name"] == "second"


# --- models ------------------------------------------------------------------------------


def test_registered_models_are_listed(visitor: Visitor, gallery: Gallery) -> None:
    visitor.open("#/models")
    visitor.see("sommelier", "Version 1", re.compile("best"))
    visitor.keep("models")


def test_a_registered_model_shows_its_versions(visitor: Visitor, gallery: Gallery) -> None:
    visitor.open("#/models/sommelier")
    visitor.see("tells grapes apart", "Version 1", re.compile("best"))
    visitor.keep("model")


def test_a_version_shows_its_schema_and_where_it_came_from(visitor: Visitor, gallery: Gallery) -> None:
    visitor.open("#/models/sommelier/versions/1")
    visitor.see("bottled", "nose", re.compile("best"))
    visitor.page.get_by_text("Inputs (2)").click()
    visitor.see(re.compile("alcohol"), re.compile("malic_acid"))
    visitor.keep("version")


def test_logged_models_are_listed(visitor: Visitor, gallery: Gallery) -> None:
    visitor.open(f"#/experiments/{gallery.experiment}/models")
    visitor.see("nose", "bottled", "Ready", "0.93")
    visitor.keep("logged-models")


def test_a_logged_model_shows_its_metrics_and_its_files(visitor: Visitor, gallery: Gallery) -> None:
    visitor.open(f"#/experiments/{gallery.experiment}/models/{gallery.model}")
    visitor.see("Metrics (2)", "recall", "0.8", "linear", "sommelier", gallery.model)
    visitor.keep("logged-model")
    visitor.page.get_by_role("tab", name="Artifacts").or_(visitor.page.get_by_role("link", name="Artifacts")).click()
    visitor.page.get_by_text("MLmodel", exact=True).first.click()
    visitor.see(re.compile(f"model_id: {gallery.model}"))
    visitor.keep("logged-model-files")
