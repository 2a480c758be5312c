from helpers import is_true_after_a_while, wait_until


def has_done(mailer, mails):
    return lambda: len(mailer.sent) + len(mailer.refused) == mails


def test_a_mail_is_sent(mailer):
    mailer.send("ann@example.org", "Hello")
    assert wait_until(has_done(mailer, 1))
    assert mailer.sent == [("ann@example.org", "Hello")]


def test_mails_are_sent_in_order(mailer):
    for n in range(20):
        mailer.send("ann@example.org", str(n))
    assert wait_until(has_done(mailer, 20))
    assert [text for _, text in mailer.sent] == [str(n) for n in range(20)]


def test_an_address_has_an_at(mailer):
    mailer.send("ann", "Hello")
    assert wait_until(has_done(mailer, 1))
    assert mailer.refused == ["ann"]


def test_what_is_refused_is_not_sent(mailer):
    mailer.send("ann", "Hello")
    mailer.send("bob@example.org", "Hello")
    assert is_true_after_a_while(has_done(mailer, 2))
    assert [address for address, _ in mailer.sent] == ["bob@example.org"]
