# SPDX-License-Identifier: Apache-2.0
"""How sharp are the photographs of a dataset? A package of three functions for Drover.

numpy and Pillow come with dtlpy, so this package has no requirements of its own."""
import io
import logging
import os
import tempfile

import dtlpy as dl
import numpy
from PIL import Image

logger = logging.getLogger("image-quality")


def open_image(item: dl.Item) -> Image.Image:
    buffer = item.download(save_locally=False)
    return Image.open(io.BytesIO(buffer.read()))


class ServiceRunner(dl.BaseServiceRunner):
    def __init__(self, thumbnail_size=128):
        self.thumbnail_size = int(thumbnail_size)

    def sharpness(self, item: dl.Item, progress: dl.Progress = None):
        """The variance of the Laplacian: the higher, the sharper. Below 100 is blurred."""
        image = open_image(item).convert("L")
        if progress is not None:
            progress.update(progress=50, message=f"{image.width} x {image.height} pixels read")
        pixels = numpy.asarray(image, dtype=numpy.float64)
        laplacian = (
            pixels[:-2, 1:-1] + pixels[2:, 1:-1] + pixels[1:-1, :-2] + pixels[1:-1, 2:] - 4 * pixels[1:-1, 1:-1]
        )
        score = float(laplacian.var())
        logger.info("%s scores %.1f", item.name, score)
        return {"name": item.name, "width": image.width, "height": image.height, "sharpness": round(score, 2)}

    def thumbnail(self, item: dl.Item):
        """Writes a small copy beside the original, under /thumbnails, and returns its id."""
        image = open_image(item).convert("RGB")
        image.thumbnail((self.thumbnail_size, self.thumbnail_size))
        stem = os.path.splitext(item.name)[0]
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, f"{stem}.jpg")
            image.save(path, quality=85)
            made = item.dataset.items.upload(local_path=path, remote_path="/thumbnails", overwrite=True)
        print(f"{item.name}: {image.width} x {image.height} thumbnail written")
        return {"item_id": made.id, "width": image.width, "height": image.height}

    def broken(self, item: dl.Item):
        """Fails on purpose, to show how a failure looks."""
        image = open_image(item)
        return {"ratio": image.width / (image.height - image.height)}
