import pytest

from monitor.api.negotiate import HTML, JSON, MARKDOWN, preferred


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/json", JSON),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", HTML),
        ("text/markdown", MARKDOWN),
        ("text/*", HTML),
        ("text/*;q=0.5, application/json;q=0.4", HTML),
        ("text/html;q=0.2, text/markdown;q=0.7", MARKDOWN),
        ("text/html;q=0, */*", JSON),
        ("*/*, text/html;q=0", JSON),
        ("TEXT/HTML", HTML),
        ("image/png", JSON),
        ("text/html;q=nonsense", JSON),
        (",;,=;q", JSON),
    ],
)
def test_the_form_with_the_highest_quality_is_chosen(accept: str, chosen: str) -> None:
    assert preferred(accept, (JSON, HTML, MARKDOWN)) == chosen
