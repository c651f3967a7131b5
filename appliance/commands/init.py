"""`anchorhold init`."""

from __future__ import annotations

from pathlib import Path

import click

TEMPLATE = """\
# {name}: an Anchorhold project. Every key is shown with its default; `anchorhold build` walks the road.

[project]
name = "{name}"            # lower case; names the model and its files
version = "0.1.0"          # semantic version of the next release
description = ""

[base]
path = "embedded"          # SmolLM2-135M-Instruct, or a Hugging Face folder (safetensors), or a .gguf file

[dataset]
sources = ["data"]         # files, folders, patterns: chats as JSON, tables, transcripts, documents
test_sources = []          # explicit test files; empty: 10 % of the rows, chosen by hash
system = ""                # put before every conversation that has no system prompt
formats = {{}}               # what a file is, where it was taken for something else: {{ "data/x.json" = "alpaca" }}
licences = {{}}              # under which licence files may be used, for the card: {{ "data/*.jsonl" = "CC-BY-4.0" }}
prompt_column = ""         # the question's column; empty: found by its name, else guessed (`dataset inspect` shows it)
answer_column = ""         # the answer's
group_column = ""          # one whose equal values never part at the split
prompt_template = "{{prompt}}"  # the user's turn, with {{column}} for any column
tools = "cut"              # chats with tool calls: cut before the first; text: calls and results written into the text
schema_path = ""           # a JSON Schema that every answer should satisfy
max_tokens = 1024          # longer rows are named and left out
limit = 0                  # use at most so many training rows; 0: all
conflicts = "keep"         # the same prompt with other answers: keep all, drop all, or keep the majority's
canaries = 0               # rows with a random secret, to measure later how much was memorised
canary_seed = 7

[dataset.duplicates]
near = "group"             # rows nearly the same: group (never parted at the split), drop (one stays), ignore
threshold = 0.85           # Jaccard similarity of three-character windows or words

[dataset.quality]
score = false              # score every row (build/dataset/quality.jsonl)
drop_share = 0.0           # leave out the worst share of the training rows

[dataset.pairs]            # rows made of transcripts and documents; `anchorhold dataset pairs` shows them
kinds = ["turns", "qa", "cloze", "summary", "extract", "continue"]
assistant = []             # names or roles whose turns are learnt, as ["agent", "desk-*"]; empty: guessed and said
window = 6                 # turns of context where a conversation is too long for one row
gap_minutes = 120          # a longer silence ends a conversation
reply_turns = 30           # in a chat of many, an answer comes within so many turns
chatter = "show"           # exchanges off the topics: keep, show (chatter.jsonl), drop
boilerplate = "drop"       # paragraphs that documents share, headers and footers: drop, keep
passage_tokens = 300
wordings = 2               # of a question that are learnt
hold_back = 0.1            # share of the facts of which one more wording goes to held_back.jsonl
writer = ""                # a .gguf file, or base: writes more questions, checked against the text
writer_pairs = 2           # at most, a passage
grounding = 0.8            # share of a written answer's words that the passage must hold

[dataset.filters]
languages = []             # as ["en"]; empty: all. What is too short to tell stays
min_characters = {{}}        # {{ prompt = 3, answer = 1 }}
max_characters = {{}}
reject = []                # echo, refusal, truncated; what isn't named is kept and listed in flagged.jsonl

[dataset.redact]           # personal data in the examples
mode = "off"               # placeholder: [NAME_1]; surrogate: made-up values of the same form; off: all stays
kinds = ["name", "address", "birth_date", "email", "phone", "card", "iban", "account", "national_id", "ip", "mac",
         "secret"]
min_score = 0.5            # what is less sure stays
allow = []                 # values that stay,
allow_patterns = []        # and regular expressions of such
tagger = ""                # a folder with a token classifier of yours that finds more
columns = {{}}               # what a column holds, whatever it looks like: {{ card_number = "card", client = "name" }}

[training]
epochs = 2.0
rank = 16
alpha = 32.0
dropout = 0.0
modules = []               # the linear layers that learn, as "q_proj", "v_proj"; empty: all
learning_rate = 1e-3       # a 135M model wants 5e-4 to 2e-3
warmup = 0.06              # share of the steps
batch_rows = 16
weight_decay = 0.0
gradient_clip = 1.0
evaluations = 4            # validation losses over the run
# grid_start = 0.5         # from this share of the steps on, train with the weights as they ship, and convert.rounding
                           # is "nearest"; left out: never, but for a type that "gptq" doesn't know (Q4_K)
grid_every = 8             # steps after which those weights are rounded anew
validation_rows = 64       # each on at most so many rows
patience = 3               # stop after so many without an improvement
min_delta = 0.0
tie = 0.05                 # a validation loss at most this share above the lowest is as good: the later adapter is kept
seed = 7
dtype = "auto"             # auto (a two-second trial), float32, bfloat16
device = "auto"            # auto (a GPU if torch has one, else the CPU), cpu, cuda
threads = 0                # 0: all cores
shard = false              # true: under torchrun, each process holds a part of the base's weights

[convert]
type = "Q4_0"              # what ships: Q4_0 (INT4), IQ4_NL, Q4_1, Q4_K, Q5_0, Q8_0 (INT8), F16, or auto: the
                           # smallest that passes the gate (`anchorhold convert --frontier` draws them all)
embeddings = "Q8_0"
rounding = "auto"          # gptq (errors make up for each other on training rows), nearest, auto (gptq, unless
                           # training had the shipping weights before it)
gate = 0.99                # share of the 16-bit file's score, on the validation rows
like = ""                  # what doesn't learn (training.modules) is rounded as in this model, station@1.0.0 say
# overrides = {{}}         # other types for some tensors, as {{ ffn_down = "Q8_0" }}; left out, where the type
                           # has four bits: keys and values in Q8_0, with gptq ffn_down in Q5_0

[evaluation]
scorer = "json"            # json (parsed equality, fields) or exact (text)
shots = 3                  # examples in the prompt of the few-shot baseline
max_rows = 0               # 0: the whole test split
max_tokens = 256
baselines = true
hold_to_schema = true      # with dataset.schema_path: the engine writes only what fits it, here and on the device
suites = []                # suite files that `build` runs too, as ["suites/*.jsonl"]; `anchorhold audit` runs all
audit = "optional"         # required: no release without an audit of the file that ships

[evaluation.gates]         # what a release has to keep, or somebody waives by name (`anchorhold audit waive`)
int4_drop = 0.1            # exact answers that the shipped file may lose against F16, beyond noise
# int4_kl = 0.1            # of an audit: how far the shipped file may be from F16, in nats a token (KL); beyond noise
# int4_top1 = 0.9          # of an audit: least share of tokens where both find the same one the likeliest
ended = 0.5                # least share of answers that end by themselves
beats_base = true          # not worse than the base asked with schema and examples
canaries = 0.2             # planted canaries that may be recalled

[release]
keys = "keys"              # made by `anchorhold keys init`
stick = "stick"            # the folder, or a mounted stick
golden = 3                 # test rows that a device asks before a release may serve
expires_days = 365
machines = []              # kinds of machine that may install it, as `uname -m` says; empty: any
devices = []               # ids of devices that may install it, as `anchorhold receipts identity` says; empty: any

[retrieval]
documents = []             # files and folders that travel with the release, to be looked up beside the model
top = 3                    # passages shown with a question
on = false                 # true: look things up without being asked to
"""


@click.command("init", epilog="Example: `anchorhold init station`, then put examples into station/data.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--name", default="", help="The project's name (default: the folder's).")
def command(folder: Path, name: str) -> None:
    """Begin a project in DIR: a commented anchorhold.toml and a folder for the examples.

    Nothing that is there already is changed.
    """
    import re

    from appliance import config_file, storage
    from appliance.errors import UsageError

    chosen = name or re.sub(r"[^a-z0-9._-]+", "-", folder.resolve().name.lower()).strip("-._") or "model"
    target = folder / config_file.FILE_NAME
    if target.exists():
        raise UsageError(f"{target}: is there already", "edit it, or begin in another folder")
    text = TEMPLATE.format(name=chosen)
    config_file.parse(text)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    storage.write_text(target, text)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        storage.write_text(ignore, "build/\nkeys/\nstick/\nredaction.key\nredaction-missed.jsonl\n")
    click.echo(f"project: {folder}")
    click.echo("next:")
    click.echo(f"  put examples into {folder / 'data'}")
    click.echo(f"  anchorhold keys init --project {folder}     # once: the keys that sign your releases")
    click.echo(f"  anchorhold build --project {folder}")
