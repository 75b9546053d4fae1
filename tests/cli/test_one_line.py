from blastscope.errors import one_line


def test_a_message_is_one_line_that_a_terminal_does_not_obey():
    told = one_line("a\nb \x1b[31mred\x07 c\u202e \ud800 häßlich × 2")
    assert told == r"a b \x1b[31mred\x07 c\u202e \ud800 häßlich × 2"
    assert one_line("plain, as it is: 3 × 4 – yes.") == "plain, as it is: 3 × 4 – yes."
