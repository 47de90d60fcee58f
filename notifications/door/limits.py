"""What the door holds for its clients, and no more."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Every limit of the door.

    Attributes:
        connections: In all; a client beyond them is closed at once.
        frame_bytes: The largest frame that a client may send.
        first_frame_bytes: The largest one before the connection is open.
        opening_ms: How long a client may take until its connection is open.
        idle_ms: A client that is silent for twice as long is closed; it is told to send something
            within it.
        stuck_ms: How long a client may leave what it is sent unread, while something waits.
        heartbeat_ms: How long the door itself is silent at most, whatever the client allows.
        sessions: For one connection.
        links: For one connection, over all of its sessions.
        grants: Tokens for one connection.
        message_bytes: The largest message, and the largest batch, with all their properties.
        batch_messages: Messages in one batch.
        waiting_bytes: What one connection has sent and is not dealt with yet; it is not read from
            while it is more. Links in the middle of a message do not count here.
        partial_bytes: What one connection has sent of messages that are not complete.
        unread_bytes: What waits for one connection to read; above it, it is not read from.
        frames_per_turn: After so many frames of one connection, others have their turn.
        credit: Messages that a sender may have under way.
        incoming_frames: Transfers that a session may send before it hears of us.
        hand_out: Messages that are taken from the broker at once, for one receiver.
        unsettled: Messages under lock that are remembered for one session.
        peeked: Messages that one request may look at, or ask for by their numbers.
        peeked_bytes: One answer shows no further message once it has so many.
        answers: That wait for one link's credit.
        answer_bytes: Of those.
    """

    connections: int = 5_000
    frame_bytes: int = 64 * 1024
    first_frame_bytes: int = 8 * 1024
    opening_ms: int = 15_000
    idle_ms: int = 300_000
    stuck_ms: int = 60_000
    heartbeat_ms: int = 30_000
    sessions: int = 512
    links: int = 1_024
    grants: int = 2_048
    message_bytes: int = 256 * 1024
    batch_messages: int = 4_500
    waiting_bytes: int = 4 * 1024 * 1024
    partial_bytes: int = 4 * 1024 * 1024
    unread_bytes: int = 2 * 1024 * 1024
    frames_per_turn: int = 128
    credit: int = 1_000
    incoming_frames: int = 5_000
    hand_out: int = 100
    unsettled: int = 10_000
    peeked: int = 250
    peeked_bytes: int = 256 * 1024
    answers: int = 256
    answer_bytes: int = 8 * 1024 * 1024
