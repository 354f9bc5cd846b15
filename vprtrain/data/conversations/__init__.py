"""Simulated conversations from the utterances of a manifest, with who speaks when."""

from vprtrain.data.conversations.files import ConversationFiles, write_conversation
from vprtrain.data.conversations.simulator import Conversation, ConversationSimulator
from vprtrain.data.conversations.style import ConversationStyle

__all__ = [
    "Conversation",
    "ConversationFiles",
    "ConversationSimulator",
    "ConversationStyle",
    "write_conversation",
]
