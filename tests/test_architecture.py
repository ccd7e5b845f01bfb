"""The style guide that runs: rooms import downwards, stages are small, dvc.yaml tells the truth."""

import ast
import subprocess
import sys
from functools import cache, lru_cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml
from places import ROOT

from refrain.pipeline import paths

ROOMS = {  # lowest floor first: a room may import those above it in this list, and torch only where it says so
    "pipeline": False,
    "chat": False,
    "data": False,
    "training": True,
    "models": True,
    "runtime": False,
    "evaluation": False,
    "exporters": False,
    "generation": False,
    "experiments": False,
    "workflow": False,
    "serving": False,
    "cli": False,
}
WITHOUT_TORCH = {
    "training/audit",
    "training/checkpoints",
    "training/batching",
    "training/distributed/launcher",
    "training/distributed/workers",
}
PARTS = {"models/pretrained", "models/pytorch", "models/influence", "training/cpu"} | {
    f"exporters/{name}" for name in ("architectures", "gguf", "onnx")
}
FOLDERS = {*ROOMS} - {"models", "exporters"} | PARTS  # what dvc.yaml may name
FOR_PEOPLE = {"generation", "experiments", "workflow", "serving", "cli"}  # no stage depends on them
LIBRARY = {
    path.relative_to(ROOT / "refrain").with_suffix("").as_posix(): path
    for path in sorted((ROOT / "refrain").rglob("[!_]*.py"))
}
STAGES = sorted((ROOT / "stages").glob("[!_]*.py"))
DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


OBSTACLES = "models/pretrained/preflight/test_obstacles.py"
OTHER_SERVER = "serving/backends/test_openai.py"
TESTED_IN = {  # modules without a test file of their own: where they are tested, and why there
    "chat/examples": ("training/audit/test_checks.py", "an example is what the audit holds to its row"),
    "chat/model_folder": ("chat/test_encoding.py", "a folder is copied to be read as a tokenizer again"),
    "chat/records": ("data/readers/test_files.py", "written by us, read back by our readers"),
    "cli/audit": ("training/audit/test_supervision.py", "the command shows what the audit found"),
    "cli/bench": ("runs/test_core_install.py", "options, and a call of experiments"),
    "cli/generate": ("generation/test_batch.py", "lines in and out of many prompts at once"),
    "cli/doctor": ("experiments/test_checkup.py", "options, and a call of experiments"),
    "cli/quarantine": ("generation/test_batch.py", "lines in and out of many prompts at once"),
    "cli/screen": ("cli/test_terminal.py", "what a person sees and types"),
    "cli/sweep": ("experiments/test_sweep.py", "options, and a call of experiments"),
    "cli/learning_curve": ("experiments/test_learning_curve.py", "options, and a call of experiments"),
    "cli/info": ("experiments/test_lineage.py", "options, and a call of experiments"),
    "cli/report": ("runs/test_core_install.py", "options, and a call of experiments"),
    "cli/verify": ("experiments/test_verify.py", "options, and a call of experiments"),
    "data/data_cards": ("experiments/test_links.py", "read where they are linked"),
    "evaluation/comparison": ("evaluation/test_parity.py", "what a proof counts, in every execution mode"),
    "evaluation/model_card/facts": ("evaluation/model_card/test_card.py", "what the card of an export says"),
    "evaluation/model_card/markdown": ("evaluation/model_card/test_card.py", "what the card of an export says"),
    "evaluation/model_card/metadata": ("evaluation/model_card/test_card.py", "what the card of an export says"),
    "evaluation/model_card/origins": ("evaluation/model_card/test_card.py", "what the card of an export says"),
    "evaluation/model_card/proof": ("evaluation/model_card/test_card.py", "what the card of an export says"),
    "evaluation/model_card/publication": ("cli/test_publish.py", "the card of what is published"),
    "experiments/publishing/destination": ("cli/test_publish.py", "where the command publishes to"),
    "experiments/publishing/folder": ("cli/test_publish.py", "where the command publishes to"),
    "experiments/publishing/hub": ("cli/test_publish.py", "where the command publishes to"),
    "experiments/publishing/hub_errors": ("cli/test_publish.py", "each answer of a Hub that refuses"),
    "experiments/publishing/plan": ("cli/test_publish.py", "what the command publishes"),
    "experiments/publishing/secret_files": ("cli/test_publish.py", "what is refused"),
    "experiments/publishing/state": ("cli/test_publish.py", "what is refused"),
    "evaluation/model_card/scores": ("evaluation/model_card/test_card.py", "what the card of an export says"),
    "evaluation/model_card/sections": ("evaluation/model_card/test_card.py", "what the card of an export says"),
    "evaluation/model_card/usage": ("evaluation/model_card/test_card.py", "what the card of an export says"),
    "data/parallel/process_pool": ("data/parallel/test_mapping.py", "every way of mapping gives the same"),
    "data/parallel/ray_cluster": ("data/parallel/test_mapping.py", "every way of mapping gives the same"),
    "data/readers/dialects": ("data/readers/test_dialect_detection.py", "tables in sixty dialects"),
    "data/readers/raw_rows": ("data/readers/test_files.py", "the type that all readers yield"),
    "data/row_preparer": ("data/test_corpus.py", "what becomes of every row"),
    "data/shapes/choices": ("data/shapes/test_published_sets.py", "rows of the sets that have choices"),
    "data/shapes/column_aliases": ("data/shapes/test_columns.py", "names by which columns are found"),
    "data/shapes/message_parts": ("data/shapes/test_published_sets.py", "rows whose parts are keys elsewhere"),
    "data/readers/encoding_guess": ("data/test_file_problems.py", "what is said of a file in another encoding"),
    "data/readers/file_content": ("data/test_file_problems.py", "what is said of a file of another format"),
    "data/readers/misnamed_files": ("data/test_file_problems.py", "what is said of a file of another format"),
    "pipeline/config_keys": ("pipeline/test_params.py", "each mistake, and the key that was meant"),
    "pipeline/stage_options": ("pipeline/test_runner.py", "what a stage answers before it loads anything"),
    "pipeline/dvc_files": ("pipeline/test_recovery.py", "what the ways back are made of"),
    "data/readers/recovery": ("data/readers/test_csv_records.py", "what broken records take with them"),
    "data/readers/tables": ("data/readers/test_files.py", "Parquet and Arrow beside the other formats"),
    "data/readers/text_formats": ("data/readers/test_files.py", "every format in every encoding"),
    "data/readers/transcoding": ("data/readers/test_files.py", "every format in every encoding"),
    "data/shapes/errors": ("data/shapes/test_fields.py", "each reason with a row that has it"),
    "data/shapes/layout": ("data/shapes/test_recognition.py", "what is recognised"),
    "data/shapes/shape": ("data/shapes/test_parsing.py", "each of the table"),
    "data/shapes/registry": ("data/shapes/test_parsing.py", "the table that parsing goes by"),
    "data/shapes/votes": ("data/shapes/test_parsing.py", "one conversation in every shape"),
    "data/token_counts": ("data/test_datasheet.py", "lengths, the same whoever counts"),
    "data/splitting/crowds": ("data/splitting/test_leakage.py", "what is like very many others"),
    "data/splitting/near_pairs": ("data/splitting/test_near_duplicates.py", "compared many at a time"),
    "data/splitting/near_prompts": ("data/splitting/test_leakage.py", "what is near joins, or leaves"),
    "data/splitting/ragged": ("data/splitting/test_near_duplicates.py", "the arrays that it searches"),
    "data/splitting/row_batches": ("data/test_corpus.py", "what a corpus keeps of its rows"),
    "data/splitting/row_store": ("data/test_corpus.py", "what a corpus keeps of its rows"),
    "experiments/audit_table": ("training/audit/test_supervision.py", "the table of what the audit found"),
    "experiments/checks/environment": ("experiments/test_checkup.py", "all checks, each with one thing amiss"),
    "experiments/checks/finding": ("experiments/test_checkup.py", "all checks, each with one thing amiss"),
    "experiments/checks/machine": ("experiments/test_checkup.py", "all checks, each with one thing amiss"),
    "experiments/checks/remote": ("experiments/test_checkup.py", "all checks, each with one thing amiss"),
    "experiments/checks/repository": ("experiments/test_checkup.py", "all checks, each with one thing amiss"),
    "experiments/comparison/changed_settings": ("cli/test_compare.py", "what is said to differ"),
    "experiments/comparison/document": ("cli/test_compare.py", "what the command prints as JSON"),
    "experiments/comparison/gate": ("cli/test_compare.py", "the exit codes of the command"),
    "experiments/comparison/object_store": ("cli/test_compare.py", "the cache, the remote and their damage"),
    "experiments/comparison/page_sections": ("cli/test_compare.py", "the page that the command writes"),
    "experiments/comparison/predictions": ("cli/test_compare.py", "what is found of each name"),
    "experiments/comparison/repetitions_report": ("cli/test_compare.py", "what the command prints of several seeds"),
    "experiments/comparison/report": ("cli/test_compare.py", "what the command prints"),
    "experiments/comparison/runs": ("cli/test_compare.py", "names, and what they stand for"),
    "experiments/comparison/selection": ("cli/test_compare.py", "who is candidate and who baseline"),
    "experiments/comparison/verdicts": ("cli/test_compare.py", "what is judged in which order"),
    "experiments/data_preview": ("cli/test_data.py", "what the command shows"),
    "experiments/data_settings": ("cli/test_data.py", "the options of the command"),
    "experiments/data_table": ("cli/test_data.py", "what the command prints"),
    "experiments/html_report/commit_reports": ("experiments/html_report/test_report_page.py", "what the page shows"),
    "experiments/html_report/data_flow": ("experiments/html_report/test_report_page.py", "what the page shows"),
    "experiments/html_report/headline": ("experiments/html_report/test_report_page.py", "what the page shows"),
    "experiments/html_report/loss_curves": ("experiments/html_report/test_report_page.py", "what the page shows"),
    "experiments/html_report/markup": ("experiments/html_report/test_page.py", "no text of the data becomes markup"),
    "experiments/html_report/proof_chain": ("experiments/html_report/test_report_page.py", "what the page shows"),
    "experiments/html_report/proof_section": ("experiments/html_report/test_report_page.py", "what the page shows"),
    "experiments/html_report/row_table": ("experiments/html_report/test_page.py", "rows that a browser sorts"),
    "experiments/html_report/run_reports": ("experiments/html_report/test_report_page.py", "what the page shows"),
    "experiments/html_report/score_plot": ("experiments/html_report/test_report_page.py", "what the page shows"),
    "experiments/html_report/size_speed": ("experiments/html_report/test_report_page.py", "what the page shows"),
    "experiments/html_report/svg": ("experiments/html_report/test_report_page.py", "what the page shows"),
    "experiments/inspection": ("cli/test_inspect.py", "printed by the command"),
    "experiments/model_table": ("cli/test_inspect.py", "printed by the command"),
    "experiments/machine": ("experiments/test_estimates.py", "what estimates stand on"),
    "experiments/override_values": ("experiments/test_compose.py", "any text can be an override"),
    "experiments/results": ("experiments/test_report_runs.py", "what of them is shown"),
    "experiments/speed_plot": ("experiments/test_bench.py", "the plot of what was measured"),
    "experiments/text_tables": ("experiments/test_verify.py", "the columns of printed tables"),
    "exporters/architectures/cohere": ("exporters/onnx/test_graph.py", "a description is right if it speaks"),
    "exporters/architectures/config_reader": ("exporters/onnx/test_graph.py", "a description is right if it speaks"),
    "exporters/architectures/decoder": ("exporters/onnx/test_graph.py", "a description is right if it speaks"),
    "exporters/architectures/families": ("exporters/onnx/test_graph.py", "a description is right if it speaks"),
    "exporters/architectures/gemma": ("exporters/onnx/test_graph.py", "a description is right if it speaks"),
    "exporters/architectures/gpt2": ("exporters/onnx/test_graph.py", "a description is right if it speaks"),
    "exporters/architectures/gpt_neo": ("exporters/onnx/test_graph.py", "a description is right if it speaks"),
    "exporters/architectures/gpt_neox": ("exporters/onnx/test_graph.py", "a description is right if it speaks"),
    "exporters/architectures/granite": ("exporters/onnx/test_graph.py", "a description is right if it speaks"),
    "exporters/architectures/heads": ("exporters/onnx/test_graph.py", "a description is right if it speaks"),
    "exporters/architectures/llama": ("exporters/onnx/test_graph.py", "a description is right if it speaks"),
    "exporters/architectures/olmo2": ("exporters/onnx/test_graph.py", "a description is right if it speaks"),
    "exporters/architectures/opt": ("exporters/onnx/test_graph.py", "a description is right if it speaks"),
    "exporters/architectures/phi": ("exporters/onnx/test_graph.py", "a description is right if it speaks"),
    "exporters/architectures/qwen": ("exporters/onnx/test_graph.py", "a description is right if it speaks"),
    "exporters/architectures/rotary": ("exporters/onnx/test_graph.py", "a description is right if it speaks"),
    "exporters/architectures/shapes": ("exporters/onnx/test_graph.py", "a description is right if it speaks"),
    "exporters/architectures/smollm3": ("exporters/onnx/test_graph.py", "a description is right if it speaks"),
    "exporters/architectures/stablelm": ("exporters/onnx/test_graph.py", "a description is right if it speaks"),
    "exporters/architectures/starcoder2": ("exporters/onnx/test_graph.py", "a description is right if it speaks"),
    "exporters/architectures/tensor_reader": ("exporters/onnx/test_graph.py", "a description is right if it speaks"),
    "exporters/architectures/gguf_choice": (
        "exporters/gguf/test_writer.py",
        "what is refused before a file is written",
    ),
    "exporters/architectures/llama_cpp": ("exporters/gguf/test_writer.py", "a graph is right if it speaks"),
    "exporters/gguf/llama_client": ("exporters/gguf/test_writer.py", "what llama.cpp is asked"),
    "exporters/gguf/provenance": ("exporters/gguf/test_exporter.py", "what the stage leaves"),
    "exporters/gguf/questions": ("exporters/gguf/test_proof.py", "what a proof asks"),
    "exporters/gguf/settings": ("exporters/gguf/test_writer.py", "a key is right if the file speaks"),
    "exporters/gguf/tensors": ("exporters/gguf/test_writer.py", "a tensor is right if the file speaks"),
    "exporters/onnx/builder": ("exporters/onnx/test_exporter.py", "no file of a graph holds a matrix"),
    "exporters/onnx/embedding": ("exporters/onnx/test_traced_graph.py", "the table as both graphs store it"),
    "exporters/onnx/layers": ("exporters/onnx/test_graph.py", "layers are drawn as a whole graph"),
    "generation/answer": ("generation/test_model.py", "what its methods give back"),
    "generation/chat_model": ("cli/test_chat.py", "what the command holds"),
    "generation/conversations": ("generation/test_model.py", "what its methods are asked"),
    "generation/options": ("generation/test_model.py", "what its methods take"),
    "generation/scoring": ("generation/test_model.py", "a method of the model"),
    "generation/sessions": ("generation/test_model.py", "either backend of a model"),
    "generation/sequence": ("generation/test_engine.py", "what the engine steps"),
    "models/pretrained/preflight/config_fields": (OBSTACLES, "each field that is named"),
    "models/pretrained/preflight/forward_pass": (OBSTACLES, "fields of which no layer can be computed"),
    "models/pretrained/preflight/loading_report": (OBSTACLES, "each tensor that is named"),
    "models/pretrained/preflight/model_class": (OBSTACLES, "each family that is named"),
    "models/pretrained/preflight/tied_head": (OBSTACLES, "a head beside its table"),
    "models/pretrained/preflight/vocabulary": (OBSTACLES, "each token that is named"),
    "models/pretrained/reading": ("data/test_training_texts.py", "which rows a tiny base reads"),
    "models/pretrained/preflight/weights": (OBSTACLES, "each tensor that is named"),
    "pipeline/cores": ("data/parallel/test_mapping.py", "as many workers as cores"),
    "pipeline/git": ("pipeline/test_revisions.py", "names of commits"),
    "pipeline/missing": ("pipeline/test_params.py", "a value that conf/ leaves open"),
    "pipeline/export_schema": ("pipeline/test_params.py", "keys of the sections export and gguf"),
    "pipeline/export_validation": ("pipeline/test_params.py", "a sentence for each value"),
    "pipeline/source_options": ("pipeline/test_params.py", "a sentence for each value"),
    "pipeline/paths": ("test_architecture.py", "held to dvc.yaml"),
    "runtime/loading": ("runtime/test_sessions.py", "a graph is opened as what it is"),
    "runtime/onnx_folder": ("exporters/onnx/test_selection.py", "the size that a choice weighs"),
    "serving/lineage/answer_facts": ("serving/routes/test_chat_completions.py", "what answers say of themselves"),
    "serving/api/answers": ("serving/api/test_openapi.py", "answers are what the document says"),
    "serving/api/fields": ("serving/api/test_body.py", "each field, refused or taken"),
    "serving/api/messages": ("serving/api/test_body.py", "each turn, refused or taken"),
    "serving/api/other_fields": ("serving/api/test_body.py", "each field, ignored or refused"),
    "serving/api/response_format": ("serving/api/test_body.py", "each format, refused or taken"),
    "serving/api/sampling": ("serving/api/test_body.py", "each value, refused or taken"),
    "serving/api/tokens": ("serving/routes/test_tokens.py", "what the routes take"),
    "serving/api/tools": ("serving/requests/test_call_reader.py", "tools that are called"),
    "serving/requests/chat_plan": ("serving/routes/test_chat_completions.py", "what a chat comes to"),
    "serving/requests/choices": ("serving/routes/test_chat_completions.py", "several choices at once"),
    "serving/requests/conversation": ("serving/routes/test_chat_completions.py", "what a chat is asked with"),
    "serving/requests/logprobs": ("serving/routes/test_chat_completions.py", "in both forms of the API"),
    "serving/requests/plan": ("serving/routes/test_chat_completions.py", "what requests come to"),
    "serving/requests/served_tokenizer": ("serving/requests/test_call_reader.py", "templates with tools and without"),
    "serving/backends/http_stream": (OTHER_SERVER, "what other servers answer, whole and broken"),
    "serving/backends/openai_format": (OTHER_SERVER, "what other servers answer, whole and broken"),
    "serving/backends/upstream": (OTHER_SERVER, "what a server is asked before it is taken"),
    "serving/routes/openapi": ("serving/api/test_openapi.py", "the document that it sends"),
    "serving/routes/page": ("serving/test_page.py", "what a browser shows of it"),
    "serving/routes/metrics": ("serving/test_metrics.py", "counted there, and asked for as Prometheus does"),
    "serving/models/artifact": ("serving/models/test_model_pool.py", "a folder is verified before it is opened"),
    "serving/responses/response_items": ("serving/routes/test_responses.py", "items that come in"),
    "serving/responses/response_object": ("serving/routes/test_responses.py", "what comes back"),
    "serving/responses/response_plan": ("serving/routes/test_responses.py", "what is refused, and in which words"),
    "serving/responses/response_writer": (
        "serving/routes/test_responses.py",
        "events, and the items that they add up to",
    ),
    "serving/api/response_fields": ("serving/routes/test_responses.py", "what is refused, and in which words"),
    "serving/api/own_fields": ("serving/routes/test_feedback.py", "what may be said, and what is told of a slip"),
    "serving/routing": ("serving/routes/test_responses.py", "methods that are there, and one that is not"),
    "serving/lineage/training_index": ("serving/lineage/test_training_search.py", "what is searched"),
    "serving/lineage/shared_search": ("serving/routes/test_training_rows.py", "searched for one request after another"),
    "serving/models/memory": ("serving/models/test_model_pool.py", "given back by what is closed"),
    "serving/lineage/answer_trace": ("cli/test_trace.py", "what the command and the route tell"),
    "cli/trace_text": ("cli/test_trace.py", "printed by the command"),
    "models/influence/learned_rows": ("models/influence/test_ranking.py", "the rows that are ranked"),
    "models/influence/traced_model": ("models/influence/test_gradients.py", "by which layers there are gradients"),
    "serving/trust": ("serving/routes/test_reload.py", "who may do what is not for everybody"),
    "serving/models/model_names": ("serving/models/test_model_pool.py", "names that are found"),
    "serving/models/opening": ("serving/models/test_model_pool.py", "what a pool opens"),
    "workflow/batches": ("workflow/test_dataset.py", "a method of the data"),
    "workflow/exporting": ("workflow/test_finetuning.py", "what was trained is exported"),
    "workflow/data_input": ("workflow/test_dataset.py", "what the data is loaded from, and added to"),
    "workflow/row_placement": ("workflow/test_dataset.py", "where the rows are"),
    "workflow/row_sources": ("workflow/test_dataset.py", "what the data is loaded from"),
    "workflow/workspace": ("workflow/test_finetuning.py", "the folder of a run"),
    "training/audit/faults": ("test_pages.py", "the list is the page's"),
    "training/audit/template_outline": ("training/audit/test_checks.py", "the second way to find labels"),
    "training/distributed/fsdp": ("training/distributed/test_processes.py", "sharded or not, the same is learned"),
    "training/distributed/workers": ("training/distributed/test_launcher.py", "started, interrupted, and failing"),
    "training/objectives/objective": ("training/objectives/test_sft.py", "a protocol"),
    "training/timing": ("training/callbacks/test_progress.py", "printed by the last line"),
    "serving/process/listening": ("serving/process/test_lifecycle.py", "addresses as a person asks for them"),
    "serving/process/logs": ("serving/middleware/test_access_log.py", "lines as they are written"),
    "serving/api_keys": ("serving/middleware/test_authentication.py", "keys that are let in, or refused"),
    "serving/process/readiness": ("serving/process/test_lifecycle.py", "what probes are told from start to end"),
    "serving/models/warmup": ("serving/process/test_lifecycle.py", "what probes are told from start to end"),
    "serving/routes/health": ("serving/process/test_lifecycle.py", "what probes are told from start to end"),
    "serving/settings/schema": (
        "serving/settings/test_settings_sources.py",
        "what may be said, and what is told of a slip",
    ),
    "serving/settings/setting_fields": ("serving/settings/test_settings_sources.py", "every setting has its words"),
    "serving/settings/settings_table": ("cli/test_serve.py", "printed by the command"),
    "serving/middleware/admission": ("serving/process/test_lifecycle.py", "refused while the server ends"),
    "serving/middleware/request_ids": ("serving/middleware/test_access_log.py", "ids in the log and in answers"),
    "serving/middleware/response_headers": ("serving/middleware/test_failures.py", "headers of every answer"),
    "serving/middleware/stack": ("serving/middleware/test_failures.py", "the order holds for every answer"),
    "serving/selftest/answer_checks": (
        "serving/selftest/test_table.py",
        "the table of all checks, of a good and of a careless server",
    ),
    "serving/selftest/client": (
        "serving/selftest/test_table.py",
        "the table of all checks, of a good and of a careless server",
    ),
    "serving/selftest/damage_checks": (
        "serving/selftest/test_table.py",
        "the table of all checks, of a good and of a careless server",
    ),
    "serving/selftest/damaged_model": (
        "serving/selftest/test_table.py",
        "the table of all checks, of a good and of a careless server",
    ),
    "serving/selftest/operation_checks": (
        "serving/selftest/test_table.py",
        "the table of all checks, of a good and of a careless server",
    ),
    "serving/selftest/outcome": (
        "serving/selftest/test_table.py",
        "the table of all checks, of a good and of a careless server",
    ),
    "serving/selftest/own_server": (
        "serving/selftest/test_table.py",
        "the table of all checks, of a good and of a careless server",
    ),
    "serving/selftest/request_checks": (
        "serving/selftest/test_table.py",
        "the table of all checks, of a good and of a careless server",
    ),
    "serving/selftest/streaming_checks": (
        "serving/selftest/test_table.py",
        "the table of all checks, of a good and of a careless server",
    ),
    "serving/backends/reply": ("serving/backends/test_engine_thread.py", "what comes of it, read as it grows"),
    "serving/backends/protocol": ("serving/backends/test_engine_thread.py", "what a backend promises"),
    "generation/request": ("generation/test_model.py", "one request over Python, HTTP and the command line"),
}
OF_NO_MODULE = {  # test files about more than one module
    "data/shapes/test_published_sets.py": "every shape, by rows of public sets",
    "exporters/architectures/test_published_configs.py": "every family, by what is published of it",
    "exporters/test_other_runtimes.py": "the artifact in other people's runtimes, by the code in docs/formats.md",
    "data/readers/test_damaged_files.py": "every reader",
    "generation/test_schedules.py": "engine, sequences, sampling and memory together, in 200 schedules",
    "data/splitting/test_planted_leaks.py": "all searches for leaks together",
    "data/splitting/test_promise.py": "all searches for leaks together, seen by a stranger",
    "data/splitting/test_word_hashes.py": "the words below shingles",
    "data/test_augmentation_leaks.py": "augmentation after the splits",
    "data/test_embedded_data.py": "the data in this repository",
    "evaluation/test_depth.py": "the bars of merge and export on a deep model",
    "evaluation/test_planted_faults.py": "the stages merge and export_onnx",
    "pipeline/test_closed_choices.py": "validation, and the tables of other rooms",
    "serving/test_page.py": "the page as a whole, in a browser",
    "serving/test_clients.py": "what clients of other people send and read",
    "serving/test_company.py": "engine, thread and cache, by many clients at once",
    "runtime/test_sessions.py": "both kinds of session",
    "workflow/test_examples.py": "what stands in examples/",
    "serving/test_deployment.py": "Dockerfile, compose.yaml and docs/deploy",
}
TESTS = ROOT / "tests"
WITHOUT_ROOM = {"benchmarks", "runs", "support"}


@lru_cache(maxsize=1)  # for all of them would fill memory
def walk_tree(source):
    return list(ast.walk(ast.parse(source.read_text())))


def nodes(source, *kinds):
    return [node for node in walk_tree(source) if isinstance(node, kinds)]


@cache
def imported(source):
    """Every name in an import of a file, wherever it stands: refrain.chat.encoding, torch, stages.train."""
    whole = {alias.name for node in nodes(source, ast.Import) for alias in node.names}
    parts = nodes(source, ast.ImportFrom)
    return whole | {node.module for node in parts} | {f"{node.module}.{a.name}" for node in parts for a in node.names}


def modules(source):
    """The modules of refrain that a file imports."""
    return {name for name in LIBRARY if f"refrain.{name.replace('/', '.')}" in imported(source)}


@cache
def reached(source):
    direct = modules(source)
    return direct.union(*(reached(LIBRARY[name]) for name in direct))


def room(module):
    return module.split("/")[0]


def folder(module):
    return next(f for f in sorted(FOLDERS, key=len, reverse=True) if module.startswith(f"{f}/"))


def attributes(source, of):
    return [n.attr for n in nodes(source, ast.Attribute) if isinstance(n.value, ast.Name) and n.value.id == of]


def outs(stage):
    listed = stage.get("outs", []) + stage.get("metrics", [])
    return {path for out in listed for path in ([out] if isinstance(out, str) else out)}


def code(stage):
    return [dep for dep in stage["deps"] if dep.startswith(("stages/", "refrain/"))]


def data(stage):
    return {*stage["deps"]} - {*code(stage)}


def test_every_module_stands_in_a_room():
    assert {room(name) for name in LIBRARY} == set(ROOMS)


def mirror(module):
    """Where the tests of a module stand."""
    return f"{Path(module).parent}/test_{Path(module).name}.py"


def test_every_module_has_its_tests_where_it_stands_or_says_where_they_are():
    assert {name for name in LIBRARY if not (TESTS / mirror(name)).exists()} == set(TESTED_IN)
    assert not [file for file, _ in TESTED_IN.values() if not (TESTS / file).exists()]


def test_every_test_file_of_a_room_is_of_a_module_or_says_of_what():
    files = {file.relative_to(TESTS).as_posix() for file in TESTS.glob("*/**/test_*.py")}
    strange = {file for file in files - set(map(mirror, LIBRARY)) if file.split("/")[0] not in WITHOUT_ROOM}
    assert strange == set(OF_NO_MODULE)


def test_rooms_import_downwards():
    order = list(ROOMS)
    for name, source in LIBRARY.items():
        assert {room(other) for other in modules(source)} <= set(order[: order.index(room(name)) + 1]), name
        assert not [other for other in imported(source) if other.split(".")[0] in ("stages", "tests")], name


def test_no_circle():
    assert list(TopologicalSorter({name: modules(path) for name, path in LIBRARY.items()}).static_order())


def test_functions_fit_on_a_screen():
    for source in [*LIBRARY.values(), *STAGES]:
        assert not [n.name for n in nodes(source, ast.FunctionDef) if n.end_lineno - n.lineno >= 50], source


@pytest.mark.parametrize("source", STAGES, ids=lambda path: path.stem)
def test_a_stage_is_a_paragraph_of_its_own(source):
    assert len(source.read_text().splitlines()) <= 50
    assert not [name for name in imported(source) if name.startswith("stages")]
    assert ast.get_docstring(ast.parse(source.read_text()))


def test_every_script_is_a_stage_that_runs_from_the_working_directory():
    # `python -m stages.x`, for so an experiment in a temporary copy runs the copy's code
    assert {name: stage["cmd"] for name, stage in DVC.items()} == {
        source.stem: f"python -m stages.{source.stem}" for source in STAGES
    }


@pytest.mark.parametrize("source", STAGES, ids=lambda path: path.stem)
def test_a_stage_hands_on_sections_never_the_whole_configuration(source):
    uses = [name for name in nodes(source, ast.Name) if name.id == "cfg" and isinstance(name.ctx, ast.Load)]
    assert len(uses) == len(attributes(source, of="cfg"))


@pytest.mark.parametrize("source", [s for s in STAGES if s.stem != "compose"], ids=lambda path: path.stem)
def test_a_stage_depends_on_exactly_the_folders_and_the_values_it_reaches(source):
    stage = DVC[source.stem]
    reach = {f"refrain/{folder(name)}" for name in reached(source)}
    folders = {name for name in reach if not {*map(str, Path(name).parents)} & reach}
    assert code(stage)[0] == f"stages/{source.name}" and {*code(stage)[1:]} == folders
    assert not [name for name in reached(source) if room(name) in FOR_PEOPLE]
    assert sorted(name.partition(".")[0] for name in stage["params"]) == sorted(set(attributes(source, of="cfg")))
    assert all(f"cfg.{name}" in source.read_text() for name in stage["params"])


def test_compose_depends_on_conf_alone():
    """Its code decides how params.yaml comes about, not what is in it, so an edit of it reruns nothing.

    It runs again when conf/ changes, and when params.yaml or a linked file does, for those are its outs.
    """
    assert DVC["compose"]["deps"] == [str(paths.CONF)]
    assert "/conf/serve.yaml" in (ROOT / ".dvcignore").read_text().splitlines()  # the server's own
    assert "params" not in DVC["compose"]
    assert outs(DVC["compose"]) == {str(paths.PARAMS), str(paths.LINKED_DATA), str(paths.LINKED_MODEL)}


def test_dvc_searches_no_room_that_no_stage_depends_on():
    ignored = {line for line in (ROOT / ".dvcignore").read_text().splitlines() if line.startswith("/refrain/")}
    assert ignored == {f"/refrain/{name}" for name in FOR_PEOPLE}


def test_dvc_yaml_and_paths_name_the_same_places():
    ours = {str(value) for value in vars(paths).values() if isinstance(value, Path)}
    written = set().union(*map(outs, DVC.values()))
    read = set().union(*map(data, DVC.values()))
    assert written | {str(paths.CONF), str(paths.SERVE)} == ours
    assert not [path for path in read if not {path, *map(str, Path(path).parents)} & ours]


@pytest.mark.parametrize("source", [s for s in STAGES if s.stem != "compose"], ids=lambda path: path.stem)
def test_a_stage_touches_only_what_dvc_yaml_gives_it(source):
    stage = DVC[source.stem]
    places = {str(getattr(paths, name)) for name in set(attributes(source, of="paths")) if name.isupper()}
    assert places <= data(stage) | outs(stage)


def test_dvc_yaml_is_not_a_template():
    assert "${" not in (ROOT / "dvc.yaml").read_text()  # DVC would read params.yaml before compose has written it


def test_nothing_that_is_read_can_run_code():
    for source in [*LIBRARY.values(), *STAGES]:
        assert not {"pickle", "dill", "joblib", "marshal", "shelve"} & imported(source), source
        calls = {ast.unparse(call.func) for call in nodes(source, ast.Call)}
        assert not {"torch.load", "eval", "exec", "yaml.load", "np.load", "numpy.load"} & calls, source
    trusts = [word for word in nodes(source, ast.keyword) if word.arg == "trust_remote_code"]
    assert all(isinstance(word.value, ast.Constant) and word.value.value is False for word in trusts)


@pytest.mark.heavy
def test_only_rooms_that_say_so_load_torch():
    free = [n for n in LIBRARY if not ROOMS[room(n)] or any(n.startswith(free) for free in WITHOUT_TORCH)]
    names = [f"refrain.{n.replace('/', '.')}" for n in free] + [f"stages.{source.stem}" for source in STAGES]
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    if {'torch', 'transformers'} & sys.modules.keys():\n"
        "        sys.exit(f'{name} loads torch or transformers')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *names], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["loading", "language_model", "torch_session"])
def test_a_model_without_an_adapter_waits_for_no_peft(name):
    at_the_top = ast.parse(LIBRARY[f"models/pytorch/{name}"].read_text()).body
    imports = [ast.unparse(node) for node in at_the_top if isinstance(node, ast.Import | ast.ImportFrom)]
    assert "import torch" in imports and not [line for line in imports if "peft" in line or "lora" in line]
