"""The AI job workers: a producer of events. It knows public names of `notifications` only, and
`notifications` does not know it; the hosts put the two together."""
