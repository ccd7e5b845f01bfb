"""What can be named as a model."""


def test_each_variant_is_a_model_and_the_default_comes_first(server):
    listed = server.get("/v1/models").json()
    assert [model["id"] for model in listed["data"]] == ["refrain", "refrain:fp32", "refrain:int8"]
    assert {model["max_model_len"] for model in listed["data"]} == {1200}
    assert all(server.get(f"/v1/models/{model['id']}").json() == model for model in listed["data"])


def test_a_name_that_is_none_is_answered_with_those_there_are(server):
    answer = server.get("/v1/models/org/some-model")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert "refrain:fp32" in answer.json()["error"]["message"]
