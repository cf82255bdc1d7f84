"""Prediction of many images into files, in one process or several, which goes on where a killed run stopped."""

import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.utils import comm
from tqdm import tqdm

from unified_seg.data.io.text_files import read_json_object, write_json
from unified_seg.data.problems import DataError, WriteError
from unified_seg.errors import UserError
from unified_seg.inference.files.finished_log import FinishedLog, hash_name, read_complete
from unified_seg.inference.files.result_files import ResultFiles
from unified_seg.inference.files.sources import Item, Source, get_name
from unified_seg.inference.files.writers import PredictedImage, Writer
from unified_seg.inference.images import LeftOutFiles, make_writable
from unified_seg.inference.predictor import Predictor
from unified_seg_files import escape_unprintable, remove_leftovers, write_text

LOG, SETTINGS, LEFT_OUT, OUTDATED = "log", "settings.json", "left_out.txt", "outdated.txt"
# The entry of an image in the log: the folders with its files, and their suffixes.
SUFFIXES = "suffixes"


class PredictionRun:
    """The prediction of all images of a source into the files of a folder.

    Args:
        folder: of the results, and of the log that makes it possible to go on.
        source: the images.
        settings: what the results depend on, as JSON can hold it; a run goes on only with the same.

    Raises:
        DataError: the folder can't be written to.
        UserError: it holds results of other settings.
    """

    def __init__(self, folder: Path, source: Source, settings: dict[str, Any]):
        self.folder = folder
        self.source = source
        self.log_folder = folder / LOG
        if comm.is_main_process():
            make_writable(self.log_folder)
            self._check_settings(settings)
            # Those of a killed process: while a run goes on, its folder is its own.
            for each in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
                remove_leftovers(each, seconds=0)
        comm.synchronize()

    def predict(self, predictor: Predictor, writers: Sequence[Writer], max_left_out: int) -> int:
        """Predict the images that are not finished or whose files are gone, and write the JSONs of all images.

        Files of images that are no longer in the source, or can no longer be read, stay; outdated.txt lists them.

        Args:
            predictor: the model.
            writers: of the files.
            max_left_out: how many images may be left out in each process, since they can't be read or written.

        Returns:
            The number of images; on other processes than the first 0.

        Raises:
            UnreadableError: some were left out, after all others are written; or more than the limit, at once.
        """
        left_out = LeftOutFiles(max_left_out)
        log = FinishedLog(self.log_folder, comm.get_rank())
        files = ResultFiles(self.folder, log.read_any().get(SUFFIXES, {}))

        def is_todo(key: str) -> bool:
            return is_own(key) and not (key in log and files.has_all(get_name(key)))

        todo = sum(map(is_todo, self.source.iterate_keys()))
        comm.synchronize()  # all have read what is finished before one of them appends
        if len(log) > 0 and comm.is_main_process():
            logging.getLogger(__name__).info(f"{self.folder}: {len(log)} images are finished already")
        finish = ImageFinisher(writers)
        items = (item for item in self.source if is_todo(item.key))
        predicted = predictor.predict_all(items, lambda item: read_item(predictor, item), finish)
        show = None if comm.is_main_process() else True
        for item, future in tqdm(predicted, "predicting", todo, unit="img", disable=show):
            entry = None
            with left_out.collect(item.file_name):
                entry = future.result()
            if entry is not None:
                log.append(item.key, entry)
        log.close()
        left_out.errors = [error for errors in comm.gather(left_out.errors) for error in errors]
        if not comm.is_main_process():
            return 0
        total = self._join(writers)
        write_list(self.folder / LEFT_OUT, left_out.errors)
        left_out.raise_any(total + len(left_out.errors))
        return total

    def _join(self, writers: Sequence[Writer]) -> int:
        """Write outdated.txt and the JSONs of all finished images, and return their number."""
        log = FinishedLog(self.log_folder)
        files = ResultFiles(self.folder, log.read_any().get(SUFFIXES, {}))
        finished = (get_name(key) for key in self.source.iterate_keys() if key in log)
        others = sorted(files.find_others(finished))
        write_list(self.folder / OUTDATED, others)
        if others:
            note = f"{len(others)} files are of images that are gone or were left out: {self.folder / OUTDATED}"
            tqdm.write(escape_unprintable(note), file=sys.stderr)
        total = log.compact(self.source.iterate_keys())
        for writer in writers:
            writer.join(lambda key: (entry[key] for entry in read_complete(self.log_folder)))
        return total

    def _check_settings(self, settings: dict[str, Any]) -> None:
        file = self.log_folder / SETTINGS
        if file.is_file():
            before = read_json_object(file)
            for key in settings:
                if before.get(key) != settings[key]:
                    raise UserError(
                        f"--output {self.folder}: holds results of another {key}; choose another folder, or delete "
                        f"{self.log_folder} to start anew"
                    )
        write_json(file, settings)


class ImageFinisher:
    """The last step of the pipeline: write the files of an image.

    Args:
        writers: of the files.
    """

    def __init__(self, writers: Sequence[Writer]):
        self.writers = writers

    @torch.no_grad()
    def __call__(self, item: Item, image: np.ndarray, outputs: dict[str, Any]) -> str:
        """Return the image's entries of joined JSONs, as JSON.

        Raises:
            DataError: a prediction that can't be written, such as one that is not finite.
            WriteError: a file can't be written.
        """
        predicted = PredictedImage(item, image, outputs)
        height, width = image.shape[:2]
        entry: dict[str, Any] = {
            "image": {"id": item.image_id, "file_name": item.file_name, "height": height, "width": width}
        }
        try:
            for writer in self.writers:
                entry.update(writer.write(predicted))
            entry[SUFFIXES] = {folder: suffix for writer in self.writers for folder, suffix in writer.suffixes.items()}
            return json.dumps(entry, allow_nan=False)
        except OSError as error:
            raise WriteError.from_error(error, f"{item.file_name}: its results") from None
        except ValueError as error:
            raise error if isinstance(error, DataError) else DataError(f"{item.file_name}: {error}") from None


def write_list(file: Path, lines: Sequence[object]) -> None:
    """Write a file with these lines; remove it if there are no lines."""
    if lines:
        write_text(file, "".join(f"{escape_unprintable(line)}\n" for line in lines))
    else:
        file.unlink(missing_ok=True)


def is_own(key: str) -> bool:
    """Return whether this process is to predict an image: the hashes of keys share the images out."""
    return hash_name(key) % comm.get_world_size() == comm.get_rank()


def read_item(predictor: Predictor, item: Item) -> np.ndarray:
    return item.source if isinstance(item.source, np.ndarray) else predictor.read(item.source["file_name"])
