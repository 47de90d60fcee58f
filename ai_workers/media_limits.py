"""How much reading one video may take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaLimits:
    """Bounds for one video, whatever its header says. The defaults suit a model that takes a dozen
    pictures and five minutes of sound.

    Attributes:
        pictures: Key frames that are kept.
        longest_side: Of a key frame, in pixels.
        most_pixels: Of one frame of the video, decoded: 8K UHD and a little.
        most_side: The longest side that a video may have.
        decoded_frames: Frames decoded one after the other; a longer video is looked at in places.
        decoded_pixels: Their pixels in all, so that large frames are fewer.
        places: Where a longer video is looked at.
        pictures_s: Seconds spent on pictures; what was found until then counts.
        sound_s: Seconds of sound that are kept, from the beginning.
        sound_within_s: Seconds spent on sound.
        within_s: Seconds after which the reader is ended, whatever it does.
        memory: Bytes of address space that the reader gets.
    """

    pictures: int = 12
    longest_side: int = 768
    most_pixels: int = 36_000_000
    most_side: int = 16_384
    decoded_frames: int = 1_500
    decoded_pixels: int = 4_000_000_000
    places: int = 96
    pictures_s: float = 60.0
    sound_s: float = 300.0
    sound_within_s: float = 30.0
    within_s: float = 120.0
    memory: int = 2 * 1024**3
