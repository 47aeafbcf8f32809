"""distilabel: a pipeline of two steps, as its documentation has it; its replies come all at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.benchmarks.generate.peers.source import MODEL, messages
from tests.benchmarks.timing import main

if TYPE_CHECKING:
    from tests.benchmarks.timing import Items


def client(setting: dict[str, Any]) -> Items:
    """Ask, and collect a table; start-up of the pipeline's processes is part of it."""
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration

    asked = [messages(number) for number in range(setting["count"])]
    rows = [{"instruction": user["content"], "system_prompt": system["content"]} for system, user in asked]
    with Pipeline(name="generate", cache_dir=setting["scratch"]) as pipeline:
        load = LoadDataFromDicts(data=rows, batch_size=setting["at_once"])
        llm = OpenAILLM(
            model=MODEL,
            base_url=setting["url"],
            api_key="none",
            generation_kwargs={"temperature": 0.7, "max_new_tokens": 2000},
        )
        load >> TextGeneration(llm=llm, input_batch_size=setting["at_once"])
    made = pipeline.run(use_cache=False)
    table = made["default"]["train"]
    assert all(table["generation"])
    yield from range(len(table))


if __name__ == "__main__":
    main([client])
