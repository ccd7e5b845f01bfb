from single_rows import parsed, said, talk


def test_only_a_blank_line_and_a_colon_make_a_speaker():
    prompt = "Quote this:\nHuman: no\n\nHuman says: Assistant: no\n\nHumans: no\n"
    chosen = f"\n\nHuman: {prompt}\n\nAssistant:  Yes \n"
    assert said({"chosen": chosen, "rejected": chosen + "!"}) == {
        "messages": talk(prompt, " Yes \n"),
        "rejected": " Yes \n!",
    }


def test_a_transcript_begins_with_a_speaker():
    heard = "\n\nHuman: Hi\n\nAssistant: Hello"
    (error,) = parsed({"chosen": heard, "rejected": "Hi" + heard}, shape="transcript")
    assert (error.reason, str(error)) == ("unknown_role", "rejected does not begin with Human: or Assistant:")


def test_line_ends_of_windows_separate_speakers_too():
    heard = "Human: Hi\r\nthere\r\n\r\nAssistant: Hello"
    assert said({"chosen": heard, "rejected": heard + "!"})["messages"] == talk("Hi\nthere", "Hello")
