"""litellm: `acompletion`, with a semaphore's worth under way; nothing is kept and nothing is judged."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tests.benchmarks.generate.peers.source import MODEL, finished, messages
from tests.benchmarks.timing import main

if TYPE_CHECKING:
    from tests.benchmarks.timing import Items


def client(setting: dict[str, Any]) -> Items:
    """Ask."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would fetch a price list when it is imported
    import litellm

    async def ask(number: int) -> None:
        reply = await litellm.acompletion(
            model=f"openai/{MODEL}",
            api_base=setting["url"],
            api_key="none",
            messages=messages(number),
            temperature=0.7,
            seed=number,
            max_tokens=2000,
        )
        assert reply.choices[0].message.content

    yield from finished(ask, setting["count"], setting["at_once"])


if __name__ == "__main__":
    main([client])
