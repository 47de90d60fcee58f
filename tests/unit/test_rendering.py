"""The renderer: what reaches a reader, whatever an event carries and however a template fails."""

import json
import shutil
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifications.directory import Locale
from notifications.errors import ConfigurationError
from notifications.ids import public_id
from notifications.rendering import (
    MAX_BODY,
    MAX_SUBJECT,
    MAX_TITLE,
    Renderer,
    RenderError,
    Toast,
)
from tests.event_samples import TEMPLATES, delivery, event, example, user

RENDERER = Renderer(TEMPLATES)


def mail(sample, reader=None, renderer=RENDERER):
    """The mail of an event."""
    sent = delivery()
    return renderer.mail(sample, reader or user(), delivery=sent, operation_id=public_id(sent))


@pytest.fixture
def templates(tmp_path):
    """A copy of the templates that a test may change."""
    shutil.copytree(TEMPLATES, tmp_path / "templates")
    return tmp_path / "templates"


def toast_of(templates, sample, **fields):
    """What a type's toast becomes with its template replaced."""
    path = templates / f"toast/{sample.type}/en.json"
    path.write_text(json.dumps({"title": "t", "body": "b"} | fields))
    return Renderer(templates).toast(sample, user())


# What a stranger may put into a payer's name ------------------------------------------------


@pytest.mark.fault("write markup into an event", "attackers")
def test_markup_is_shown_as_text():
    """Markup in a name reaches a mail's HTML escaped, and its text and the toast as it is."""
    name = '<script>alert(1)</script><img src=x onerror=alert(1)> & "co"'
    sample = example("payment.received", payer={"name": name})
    sent = mail(sample)
    assert "<script" not in sent.html
    assert "<img" not in sent.html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in sent.html
    assert name in sent.text
    assert RENDERER.toast(sample, user()).body.startswith(f"Paid by {name}")


@pytest.mark.parametrize("code", ["{{ 7 * 7 }}", "{% for x in data %}{{ x }}{% endfor %}", "{#"])
@pytest.mark.fault("write a template into an event", "attackers")
def test_template_code_in_data_is_text(code):
    """Template syntax that an event carries is shown, never run."""
    sample = example("payment.received", payer={"name": code}, description=code, reference=code)
    sent = mail(sample, user(name=code))
    assert code in sent.subject
    assert sent.text.count(code) == 4
    assert "49.00" in sent.text
    assert code in RENDERER.toast(sample, user()).body


def test_line_ends_make_no_lines():
    """A name with line ends forges neither a header nor a line of the plain text."""
    name = "Sam\r\nBcc: all@example.com\n\nAmount: €1,000,000.00\u2028x"
    sent = mail(example("payment.received", payer={"name": name}), user(name=name))
    assert sent.subject.splitlines() == [sent.subject]
    assert "\nBcc" not in sent.text
    assert "\nAmount: €1" not in sent.text
    assert "Paid by: Sam Bcc: all@example.com Amount: €1,000,000.00 x\n" in sent.text
    assert sent.to_name == "Sam Bcc: all@example.com Amount: €1,000,000.00 x"


def test_characters_that_reorder_do_not_come_through():
    """Control characters and direction overrides are gone from every part of a mail and toast."""
    name = "Sam\u202egnp.exe\u2066\x00\x1b[31m\x07"
    sample = example("payment.received", payer={"name": name})
    sent = mail(sample)
    shown = RENDERER.toast(sample, user())
    for part in (sent.subject, sent.text, sent.html, shown.title, shown.body):
        assert not set(part) & set("\u202e\u2066\x00\x1b\x07")
    assert "Samgnp.exe[31m" in sent.subject


def test_huge_texts_are_bounded():
    """Enormous values give titles, bodies, subjects and mails of bounded size."""
    big = "x" * 40_000
    sample = example(
        "payment.received", payer={"name": big}, description=big, reference=big, url=f"/{big}"
    )
    sent = mail(sample, user(name=big))
    shown = RENDERER.toast(sample, user())
    assert len(sent.subject) == MAX_SUBJECT
    assert len(sent.text) + len(sent.html) < 60_000
    assert (len(shown.title) <= MAX_TITLE, len(shown.body)) == (True, MAX_BODY)
    assert shown.url is None


@settings(max_examples=60, deadline=None)
@given(
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=80),
    st.sampled_from(Locale),
)
def test_any_name_gives_a_toast_and_a_mail(name, locale):
    """Whatever a name is made of, toast and mail are rendered, their one-liners in one line."""
    sample = example("payment.received", payer={"name": name}, description=name)
    shown, sent = RENDERER.toast(sample, user(locale)), mail(sample, user(locale, name=name))
    for line in (shown.title, shown.body, sent.subject, sent.to_name or ""):
        assert len(line.splitlines()) <= 1


@pytest.mark.parametrize("url", ["javascript:alert(1)", "//evil.example", "data:text/html,x"])
def test_a_link_that_is_none_is_left_out(url):
    """A link of a scheme that runs code, or to nobody knows where, is no link anywhere."""
    sample = example("payment.received", url=url)
    assert RENDERER.toast(sample, user()).url is None
    sent = mail(sample)
    assert url not in sent.html + sent.text
    assert "<a " not in sent.html


# Links and languages ------------------------------------------------------------------------


def test_a_path_is_a_link_in_toasts_and_with_an_address_in_mails():
    """A path leads somewhere in the app; in a mail only once the app's address is known."""
    sample = example("payment.received", url="/payments/1")
    assert RENDERER.toast(sample, user()).url == "/payments/1"
    assert "View the payment" not in mail(sample).text
    there = mail(sample, renderer=Renderer(TEMPLATES, app_url="https://app.example.com/"))
    assert 'href="https://app.example.com/payments/1"' in there.html
    assert "\nhttps://app.example.com/payments/1\n" in there.text


def test_a_missing_language_falls_back(templates):
    """Without a user's language English is shown; without English, French."""
    french, english = user(Locale.FR), user(Locale.EN)
    sample = example("payment.received")
    assert RENDERER.toast(sample, user("de")).title == "Payment received: €49.00"
    (templates / "toast/payment.received/fr.json").unlink()
    shutil.rmtree(templates / "email/payment.received/fr")
    renderer = Renderer(templates)
    assert renderer.toast(sample, french).title == "Payment received: €49.00"
    assert mail(sample, french, renderer).locale == "en"
    shutil.copytree(TEMPLATES / "toast", templates / "toast", dirs_exist_ok=True)
    (templates / "toast/payment.received/en.json").unlink()
    assert Renderer(templates).toast(sample, english).title == "Paiement reçu\u00a0: 49,00\u00a0€"


def test_times_are_in_the_reader_s_zone():
    """The same event reads differently in Paris and in Auckland."""
    sample = example("payment.received")
    assert "January 31, 2026 at\u00a012:00\u202fPM" in mail(sample).text
    assert (
        "February 1, 2026 at\u00a012:00\u202fAM"
        in mail(sample, user(timezone="Pacific/Auckland")).text
    )


def test_the_same_delivery_gives_the_same_mail():
    """Rendering twice gives the same mail, with the delivery's date and the given operation id."""
    sent = mail(example("job.succeeded"))
    assert sent == mail(example("job.succeeded"))
    assert sent.created_at == delivery().created_at
    assert sent.operation_id == public_id(delivery())
    assert sent.operation_id in sent.html
    assert sent.operation_id in sent.text
    assert (sent.to, sent.to_name, sent.locale) == ("sam.sample@example.com", "Sam Sample", "en")


def test_nobody_s_name_is_left_out():
    """A user without a name, or with one of spaces, is greeted without."""
    for name in (None, "", " \n\t"):
        sent = mail(example("job.succeeded"), user(name=name))
        assert "\nHello,\n" in sent.text
        assert ">Hello,<" in sent.html
        assert sent.to_name is None


def test_whole_numbers_come_in_two_forms():
    """42.0 is a whole number of JSON: it is shown as 42, and moves a bar."""
    shown = RENDERER.toast(example("job.progress", progress=42.0), user())
    assert shown.progress == 42
    assert "42%" in shown.body
    again = RENDERER.toast(example("job.retrying", run=1.0), user())
    assert "Attempt 2 of 4" in again.body


# Templates that go wrong --------------------------------------------------------------------


def test_what_is_missing_is_named(templates):
    """A template that asks for what an event lacks fails with its name, line and what it is."""
    with pytest.raises(RenderError) as caught:
        toast_of(templates, example("payment.received"), body="{{ data.payer.age }}")
    assert caught.value.template == "toast/payment.received/en.json#body"
    assert caught.value.line == 1
    assert "age" in caught.value.problem


def test_the_line_is_that_of_the_file_it_is_in(templates):
    """An error deep in a mail names the file and line it is in, not the frame around it."""
    path = templates / "email/payment.received/en/body.txt"
    path.write_text(path.read_text() + "{% block content %}\n\n{{ data.nothing }}\n{% endblock %}")
    path.write_text(path.read_text().replace("{% block content %}", "{% block other %}", 1))
    line = path.read_text().splitlines().index("{{ data.nothing }}") + 1
    with pytest.raises(RenderError) as caught:
        mail(example("payment.received"), renderer=Renderer(templates))
    assert (caught.value.template, caught.value.line) == (
        "email/payment.received/en/body.txt",
        line,
    )


@pytest.mark.parametrize(
    "body",
    [
        "{{ none }}",
        "{{ data }}",
        "{{ [1] }}",
        "{{ true }}",
        "{{ 0.1 }}",
        "{{ event.body }}",
        "{{ data.payer.name | money('EUR') }}",
        "{{ 1 / 0 }}",
        "{{ job.name }}",
        "{{ data.payer | dollars }}",
        "{{ '2026-13' | month }}",
    ],
)
def test_what_cannot_be_shown_is_an_error(templates, body):
    """`None`, `True`, a dictionary or a value that a filter cannot write is never shown."""
    with pytest.raises(RenderError):
        toast_of(templates, example("payment.received"), body=body)


@pytest.mark.parametrize(
    "body",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() | length }}",
        "{{ data.__class__ | length }}",
        "{{ event.__init__.__globals__ | length }}",
        "{{ data['payer']['__class__'].x }}",
        "{{ ''['__class__'].x }}",
        "{{ (data | attr('__class__')).x }}",
        "{{ '{0.__class__}'.format(data) }}",
        "{{ data.update({'x': 1}) }}",
        "{{ data.clear() }}",
        "{{ range(10 ** 9) | length }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ self.__init__.__globals__ | length }}",
        "{{ lipsum.__globals__.os }}",
        "{% set data.amount = 1 %}x",
    ],
)
def test_a_template_cannot_leave_the_sandbox(templates, body):
    """A template reaches neither Python's insides nor anything it could change."""
    sample = example("payment.received")
    before = dict(sample.data)
    with pytest.raises(RenderError):
        toast_of(templates, sample, body=body)
    assert sample.data == before


def test_data_comes_before_what_a_dict_can_do(templates):
    """A field that is named like a method of Python's is shown like any other."""
    sample = example("payment.received", items="three", keys="two")
    toast = toast_of(templates, sample, body="{{ data.items }}, {{ data.keys }}, {{ data.amount }}")
    assert toast.body == f"three, two, {sample.data['amount']}"


@pytest.mark.parametrize(
    "body",
    [
        "{% macro again(n) %}{{ again(n + 1) }}{% endmacro %}{{ again(0) }}",
        "{{ range(10 ** 6) | list | length }}",
        "{% for a in range(10 ** 9) %}x{% endfor %}",
    ],
)
def test_a_template_that_never_ends_is_ended(templates, body):
    """Recursion without end and huge ranges are errors that name their template."""
    with pytest.raises(RenderError) as caught:
        toast_of(templates, example("payment.received"), body=body)
    assert caught.value.template == "toast/payment.received/en.json#body"


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("toast/payment.received/en.json", "{", "toast/payment.received/en.json"),
        ("toast/payment.received/en.json", '{"title": "t"}', "title and body"),
        ("toast/payment.received/en.json", '{"title": "t", "body": "b", "boddy": ""}', "may have"),
        ("toast/payment.received/en.json", '{"title": "t", "body": 1}', "of strings"),
        ("toast/payment.received/en.json", '{"title": "{{", "body": "b"}', "en.json#title, line 1"),
        ("email/payment.received/en/body.txt", None, "body.txt"),
        ("email/payment.received/en/body.html", "\n{% if %}", "body.html, line 2"),
        ("email/payment.received/en/body.html", "{{ 1 | nosuchfilter }}", "nosuchfilter"),
        ("email/payment.received/en/subject.txt", b"\xff", "subject.txt"),
        ("email/_base/en.json", "[]", "_base/en.json"),
        ("jobs/_default/en.json", None, "jobs/_default"),
        ("jobs/video.analysis/en.json", "{", "video.analysis/en.json"),
        ("jobs/video.analysis/en.json", "[]", "video.analysis/en.json"),
    ],
)
def test_a_broken_template_is_found_by_name(templates, file, content, says):
    """A check of all templates finds the one that cannot work, and names it."""
    path = templates / file
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigurationError) as caught:
        Renderer(templates).check()
    assert says in str(caught.value)


def test_a_type_without_a_template_is_said_so():
    """Asking for the toast or mail of a type that has none names the type."""
    with pytest.raises(RenderError, match=r"toast/webhook\.test"):
        RENDERER.toast(example("webhook.test"), user())
    with pytest.raises(RenderError, match=r"email/message\.received"):
        mail(example("message.received"))


# Jobs ---------------------------------------------------------------------------------------


def test_a_job_type_without_words_of_its_own_is_a_request():
    """A job type that has no texts yet is told of in general words, in both languages."""
    sample = example("job.succeeded", jobType="image.restore")
    assert RENDERER.toast(sample, user()).title == "Your request is done"
    assert RENDERER.toast(sample, user(Locale.FR)).title == "Votre demande est terminée"


def test_a_job_type_is_added_by_its_texts_alone(templates):
    """A folder of phrases names a new job type; what it leaves out is said in general words."""
    (templates / "jobs/image.restore").mkdir()
    (templates / "jobs/image.restore/en.json").write_text('{"succeeded": "Your image is ready"}')
    renderer = Renderer(templates)
    succeeded = example("job.succeeded", jobType="image.restore")
    failed = example("job.failed", jobType="image.restore")
    assert renderer.toast(succeeded, user()).title == "Your image is ready"
    assert renderer.toast(failed, user()).title == "Your request could not be completed"
    assert renderer.toast(succeeded, user(Locale.FR)).title == "Votre demande est terminée"


def test_errors_and_steps_are_told_in_the_reader_s_language():
    """Known error codes and steps are explained; unknown ones are never shown raw in a toast."""
    error = {"code": "timeout", "message": "deadline exceeded"}
    shown = RENDERER.toast(example("job.failed", error=error), user(Locale.FR))
    assert "Le traitement a pris trop de temps." in shown.body
    unknown = RENDERER.toast(example("job.failed", error=error | {"code": "e42"}), user())
    assert "Something went wrong during processing." in unknown.body
    assert "e42" not in unknown.body
    assert "zzz" not in RENDERER.toast(example("job.progress", step="zzz"), user()).body


def test_the_offline_model_is_named():
    """A result that no model computed says so in the mail."""
    sample = example("job.succeeded")
    usage = dict(sample.data["usage"]) | {"model": "offline"}
    assert "without an AI model" in mail(example("job.succeeded", usage=usage)).text
    assert "without an AI model" not in mail(sample).text


def test_a_summary_keeps_its_lines():
    """A summary of several lines stays so in the plain text."""
    assert "\none\ntwo\n" in mail(example("job.succeeded", summary="one\r\ntwo")).text


def test_an_event_that_nobody_checked_names_what_it_lacks():
    """An event that came past the schema fails by name rather than with a half-empty mail."""
    bare = event({"specversion": "1.0", "source": "/x", "type": "payment.received"})
    with pytest.raises(RenderError):
        RENDERER.toast(bare, user())
    with pytest.raises(RenderError):
        mail(bare)


def test_toasts_are_values():
    """A toast is compared by what it shows."""
    assert RENDERER.toast(example("job.started"), user()) == Toast(
        title="Your video analysis has started", body="Interview de mars.mp4"
    )
    assert replace(Toast(title="a", body=""), body="b") == Toast(title="a", body="b")


def test_an_address_breaks_where_it_is_divided():
    """In HTML an address may be broken behind what divides it, and nowhere else; it is escaped."""
    html = mail(example("endpoint.disabled", url="https://a.example/b/c?d=<e>&f=g/")).html
    divided = "https://<wbr>a.example/<wbr>b/<wbr>c?<wbr>d=<wbr>&lt;e&gt;&amp;<wbr>f=<wbr>g/</bdi>"
    assert divided in html
