"""The benchmarks' folders: every photo with the labels that its label map means."""

import numpy as np
import pytest

from ovdeploy.runtime import DatasetError, PhotoError
from ovdeploy.runtime.datasets import IGNORED, FolderDataset, load_spec
from support.layouts import HW, LAYOUTS, make_layout, write_image


def open_layout(name, root, **options):
    return FolderDataset(load_spec(LAYOUTS[name].dataset), root, **options)


@pytest.mark.parametrize("name", LAYOUTS)
def test_labels_are_what_the_values_mean(name, tmp_path):
    meant = make_layout(tmp_path, LAYOUTS[name])
    dataset = open_layout(name, tmp_path)
    assert list(dataset.names) == list(LAYOUTS[name].names)
    for photo, expected in meant.items():
        sample = dataset.read(photo)
        assert sample.photo.shape == (*HW, 3) and sample.photo.dtype == np.uint8
        assert sample.given is None
        plain = [[IGNORED if index is None else index for index in row] for row in expected]
        assert sample.labels.tolist() == plain
        assert sample.labels.dtype == np.uint16


@pytest.mark.parametrize(
    ("name", "below"),
    [
        ("voc21", "VOC2012"),
        ("voc20", "VOCdevkit/VOC2012"),
        ("context59", "VOCdevkit/VOC2010"),
        ("ade20k", "ADEChallengeData2016"),
        ("ade20k", "ade/ADEChallengeData2016"),
        ("coco-object", "coco_stuff164k"),
        ("coco-stuff", "coco_stuff164k"),
        ("cityscapes", "cityscapes"),
    ],
)
def test_the_layout_may_begin_below_the_folder_given(name, below, tmp_path):
    make_layout(tmp_path / below, LAYOUTS[name])
    dataset = open_layout(name, tmp_path)
    assert dataset.folder == tmp_path / below
    dataset.read(dataset.names[0])


def test_converted_labels_go_before_original_ones_photo_by_photo(tmp_path):
    make_layout(tmp_path, LAYOUTS["coco-object, original"])
    dataset = open_layout("coco-object", tmp_path)
    first, second = dataset.names
    original = dataset.read(second).labels
    write_image(tmp_path / f"annotations/val2017/{first}_instanceTrainIds.png", np.full(HW, 80, np.uint8))
    assert (dataset.read(first).labels == 80).all()
    assert (dataset.read(second).labels == original).all()


def test_only_some_photos(tmp_path):
    make_layout(tmp_path, LAYOUTS["voc21"])
    assert open_layout("voc21", tmp_path, photos=1).names == ["2007_000033"]
    assert len(open_layout("voc21", tmp_path, photos=9).names) == 2


def test_a_list_decides_over_what_is_there_and_may_name_a_photo_twice(tmp_path):
    make_layout(tmp_path, LAYOUTS["voc21"])
    (tmp_path / "ImageSets/Segmentation/val.txt").write_text("2008_000123\n\n 2008_000123 \ngone\n")
    dataset = open_layout("voc21", tmp_path)
    assert dataset.names == ["2008_000123", "gone"]
    with pytest.raises(PhotoError, match=r"gone\.jpg: no such photo"):
        dataset.read("gone")


def test_a_missing_label_map_is_told_with_all_places(tmp_path):
    make_layout(tmp_path, LAYOUTS["cityscapes"])
    (tmp_path / "gtFine/val/munster/munster_000000_000019_gtFine_labelTrainIds.png").unlink()
    dataset = open_layout("cityscapes", tmp_path)
    with pytest.raises(DatasetError, match=r"no label map.*labelTrainIds\.png and .*labelIds\.png"):
        dataset.read("munster/munster_000000_000019")
    dataset.read("frankfurt/frankfurt_000000_000294")


def test_a_label_map_of_another_size_is_refused(tmp_path):
    make_layout(tmp_path, LAYOUTS["ade20k"])
    write_image(tmp_path / "annotations/validation/ADE_val_00000001.png", np.zeros((5, 4), np.uint8))
    with pytest.raises(DatasetError, match=r"label map is 4×5 and the photo 30×21"):
        open_layout("ade20k", tmp_path).read("ADE_val_00000001")


def test_folders_that_are_no_dataset_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="no such folder"):
        open_layout("voc21", tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=r"not laid out as voc21: there is no JPEGImages or VOC2012/JPEGImages"):
        open_layout("voc21", tmp_path)
    (tmp_path / "JPEGImages").mkdir()
    with pytest.raises(DatasetError, match=r"val\.txt: the list of photos cannot be read"):
        open_layout("voc21", tmp_path)
    (tmp_path / "images/validation").mkdir(parents=True)
    with pytest.raises(DatasetError, match="no photos of ade20k"):
        open_layout("ade20k", tmp_path)


def test_the_identity_knows_the_description_and_not_the_place(tmp_path):
    make_layout(tmp_path / "a", LAYOUTS["voc20"])
    make_layout(tmp_path / "b", LAYOUTS["voc20"], seed=1)
    assert open_layout("voc20", tmp_path / "a").identity == open_layout("voc20", tmp_path / "b", photos=1).identity
    assert open_layout("voc20", tmp_path / "a").identity != open_layout("voc21", tmp_path / "a").identity
