"""Messages on the wire: read back by the standard library as a stranger's mail program would."""

import email
import email.policy
import re
from email.header import decode_header, make_header

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifications.channels.email.message import read_address, read_sender, to_bytes
from notifications.errors import InvalidInput
from notifications.records import Mail

SENDER = "Huntaze <notify@huntaze.example>"
HEADERS = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Content-Language",
    "Auto-Submitted",
    "X-Huntaze-Delivery",
    "MIME-Version",
    "Content-Type",
]
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=120)


def mail(**changes) -> Mail:
    """A mail with something of everything in it."""
    fields = {
        "operation_id": "dlv_0000000015lk7",
        "to": "sam.sample@example.com",
        "to_name": "Zoé “Sam” Sample",
        "subject": "Votre analyse vidéo est prête\u00a0: « Interview »",
        "text": "Bonjour Zoé,\n\n.\nFrom here\n" + "é" * 300 + "\n",
        "html": "<p>Bonjour Zoé,</p>\n<p>" + "x" * 1200 + "</p>\n",
        "locale": "fr",
        "created_at": 1_769_857_200_123,
    }
    return Mail(**fields | changes)


def raw(sent: Mail, sender=SENDER) -> bytes:
    """What goes out."""
    return to_bytes(sent, sender)


def read(sent: Mail, sender=SENDER):
    """What arrives."""
    return email.message_from_bytes(raw(sent, sender), policy=email.policy.default)


def test_what_arrives_is_what_was_sent():
    """Sender, recipient, subject, both bodies and all headers come out as they went in."""
    sent = mail()
    arrived = read(sent)
    assert arrived.defects == []
    assert arrived.keys() == HEADERS
    (to,) = arrived["To"].addresses
    assert (to.display_name, to.addr_spec) == (sent.to_name, sent.to)
    assert str(arrived["From"]) == SENDER
    assert arrived["Subject"] == sent.subject
    assert arrived["Date"].datetime.isoformat() == "2026-01-31T11:00:00+00:00"
    assert arrived["Message-ID"] == "<dlv_0000000015lk7@huntaze.example>"
    assert arrived["Content-Language"] == "fr"
    assert arrived["Auto-Submitted"] == "auto-generated"
    assert arrived["X-Huntaze-Delivery"] == sent.operation_id
    assert arrived.get_content_type() == "multipart/alternative"
    plain, html = arrived.iter_parts()
    assert (plain.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    assert plain.get_content().replace("\r\n", "\n") == sent.text
    assert html.get_content().replace("\r\n", "\n") == sent.html


def test_the_bytes_are_fit_for_any_server():
    """Seven bits, CRLF at line ends and nowhere else, encoded lines within 76 characters."""
    sent = raw(mail(subject="é" * 150, to_name="ü" * 100))
    sent.decode("ascii")
    assert b"\r" not in sent.replace(b"\r\n", b"")
    assert b"\n" not in sent.replace(b"\r\n", b"")
    assert max(map(len, sent.split(b"\r\n"))) <= 110
    subject = sent[sent.index(b"Subject:") : sent.index(b"Date:")]
    assert max(map(len, subject.split(b"\r\n"))) <= 76


def test_the_same_mail_gives_the_same_bytes():
    """A mail that is sent again is the same to the last byte, ids and boundary included."""
    assert raw(mail()) == raw(mail())
    mails = mail(), mail(operation_id="dlv_0000000015lk8")
    boundaries = {re.search(rb'boundary="(.*)"', raw(each))[1] for each in mails}
    assert len(boundaries) == 2


@settings(max_examples=150, deadline=None)
@given(
    subject=TEXT, to_name=st.none() | TEXT, text=st.text(max_size=400), html=st.text(max_size=400)
)
def test_our_writer_and_the_standard_library_agree(subject, to_name, text, html):
    """What is written here is what the library writes of what it has read, and all is there."""
    encodable = (text + html).encode(errors="replace").decode()
    sent = mail(subject=subject, to_name=to_name, text=encodable, html=encodable)
    ours = to_bytes(sent, SENDER)
    as_it_is = email.policy.SMTP.clone(refold_source="none")
    assert email.message_from_bytes(ours, policy=as_it_is).as_bytes() == ours
    arrived = email.message_from_bytes(ours, policy=email.policy.default)
    assert arrived.keys() == HEADERS
    assert [part.get_content_type() for part in arrived.iter_parts()] == ["text/plain", "text/html"]
    assert len(arrived["To"].addresses) == 1
    assert arrived["To"].addresses[0].addr_spec == sent.to


INJECTIONS = [
    "x\r\nBcc: all@example.com",
    "x\nBcc: all@example.com",
    "x\rBcc: all@example.com",
    "x\u2028Bcc: all@example.com",
    "x\r\n\r\n<script>",
    "=?utf-8?q?x=0D=0ABcc=3A_all=40example.com?=",
]


@pytest.mark.parametrize("text", INJECTIONS)
@pytest.mark.parametrize("field", ["subject", "to_name", "operation_id", "locale"])
def test_no_field_makes_a_header(field, text):
    """Line ends in anything that becomes a header make neither another header nor a body."""
    arrived = read(mail(**{field: text}))
    assert arrived.keys() == HEADERS
    assert len(list(arrived.iter_parts())) == 2
    assert "Bcc" not in arrived
    (subject,) = re.findall(
        rb"^Subject: (.*(?:\r\n .*)*)", raw(mail(**{field: text})), re.MULTILINE
    )
    assert "\n" not in str(make_header(decode_header(subject.decode()))).replace("\r", "\n")


@pytest.mark.parametrize(
    "name", ['Sam, "all@example.com"', "all@example.com,", "<all@example.com>", "(x)", "a\\", '"']
)
def test_a_name_is_never_an_address(name):
    """Whatever a name holds, there is one recipient, and the name is shown as it is."""
    (to,) = read(mail(to_name=name))["To"].addresses
    assert (to.display_name, to.addr_spec) == (name, "sam.sample@example.com")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "sam",
        "@example.com",
        "sam@",
        "sam@example.com, all@example.com",
        "sam@example.com\r\nBcc: all@example.com",
        "sam@example.com\n",
        "Sam <sam@example.com>",
        "sam sample@example.com",
        "zoé@example.com",
        "sam@exa mple.com",
        "sam@-example.com",
        "sam@example..com",
        "sam..sample@example.com",
        '"sam"@example.com',
        "a" * 65 + "@example.com",
        "sam@" + "a" * 70 + ".example.com",
        "sam@" + "a." * 130 + "com",
    ],
)
def test_what_is_no_address_is_refused(address):
    """Anything but one plain address is refused rather than mended."""
    with pytest.raises(InvalidInput):
        read_address(address, "/to")
    with pytest.raises(InvalidInput):
        to_bytes(mail(to=address), SENDER)


def test_a_domain_in_another_script_is_written_in_ascii():
    """An international domain goes out in the form that every server knows."""
    assert read_address("sam@exämple.com", "/to") == "sam@xn--exmple-cua.com"
    assert read_address("sam@straße.example", "/to") == "sam@xn--strae-oqa.example"
    assert (
        read_address("Sam.O'Neil+tag@Mail.Example.com", "/to") == "Sam.O'Neil+tag@Mail.Example.com"
    )


@pytest.mark.parametrize(
    ("address", "written"),
    [
        ("zoé@example.com", "zoé@example.com"),
        ("zoe\u0301@example.com", "zoé@example.com"),
        ("用户.a@example.com", "用户.a@example.com"),
        ("कमल@example.com", "कमल@example.com"),
        ("zoé@exämple.com", "zoé@xn--exmple-cua.com"),
        ("sam@example.com", "sam@example.com"),
    ],
)
def test_an_address_in_another_script_is_taken_where_it_can_be_sent(address, written):
    """With `international`, letters of any script may stand before the @, as they are."""
    assert read_address(address, "/to", international=True) == written
    message = to_bytes(mail(to=address, to_name=None), SENDER, international=True)
    assert f"\r\nTo: {written}\r\n".encode() in message


@pytest.mark.parametrize(
    "address",
    [
        "zoé\u202e@example.com",
        "zoé\u200b@example.com",
        "zoé\u2028@example.com",
        "zoé\x85@example.com",
        "zo\u00a0é@example.com",
        "zoé\ud800@example.com",
        "zoé<@example.com",
        "\uff1c@example.com",
        "é" * 33 + "@example.com",
        ".é@example.com",
        "zoé",
    ],
)
def test_what_is_no_letter_is_refused_in_any_script(address):
    """Spaces, marks that reorder, halves of characters and symbols are in no address."""
    with pytest.raises(InvalidInput):
        read_address(address, "/to", international=True)


def test_the_sender_may_have_a_name():
    """The sender is an address, with a name or with the product's."""
    assert read_sender("notify@example.com") == ("Huntaze", "notify@example.com")
    assert read_sender("Équipe <notify@example.com>") == ("Équipe", "notify@example.com")
    assert str(read(mail(), "Équipe <notify@example.com>")["From"]) == "Équipe <notify@example.com>"
    with pytest.raises(InvalidInput):
        read_sender("nobody")


def test_a_recipient_without_a_name_is_an_address():
    """Without a name the recipient is the bare address."""
    assert str(read(mail(to_name=None))["To"]) == "sam.sample@example.com"
    assert str(read(mail(to_name=" \n"))["To"]) == "sam.sample@example.com"
