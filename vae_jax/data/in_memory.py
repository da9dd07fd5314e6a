"""Whether training images are all in memory, or stay on disk."""

from vae_jax.memory import host_memory

IN_MEMORY = {
    "yes": "all are read before the training",
    "no": "they stay on disk, and each chunk of steps reads its own",
}
AUTO = "auto"
PART = 2  # of the memory, which images in memory may have one of: they are copied


def stays_in_memory(choice: str, num_bytes: int) -> bool:
    """Whether images of so many bytes are to be in memory; `choice`: of IN_MEMORY, or AUTO."""
    return choice == "yes" or (choice == AUTO and PART * num_bytes <= host_memory())


def said_of_memory(choice: str, num_bytes: int, where: str) -> str:
    """A sentence on where the training images are; `where`: the folder that they are read from."""
    if stays_in_memory(choice, num_bytes):
        return f"in memory: the {num_bytes / 1e9:.3g} GB of training images"
    memory = f"; twice that is more than the memory of {host_memory() / 1e9:.3g} GB"
    return (
        f"streamed: the {num_bytes / 1e9:.3g} GB of training images are read from {where} as they "
        f"are trained on (dataset.in_memory = {choice!r}{memory * (choice == AUTO)})"
    )
