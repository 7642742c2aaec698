"""video_folders.py: each video has its caption, the frames are those at the stride, what is wrong is said before any work."""

from __future__ import annotations

import json

import pytest
import torch
from made_videos import level, write_video

from pix2gif_lite.evaluation.video_folders import class_words, read_clip, read_folder, shuffled


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("clip") / "a.avi", 46)


def put(folder, *names):
    """Files that nothing needs to open."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"not opened")


def annotate(folder, sentences, videos=(), name="videodatainfo.json"):
    rows = [{"sen_id": k, "video_id": video, "caption": words} for k, (video, words) in enumerate(sentences)]
    splits = [{"video_id": video, "split": split} for video, split in videos]
    (folder / name).write_text(json.dumps({"info": {}, "videos": splits, "sentences": rows}), encoding="utf-8")


def test_ucf101_is_captioned_by_the_words_of_its_classes(tmp_path):
    put(tmp_path, "UCF-101/TaiChi/v_TaiChi_g02_c01.avi", "UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi")
    put(tmp_path, "UCF-101/HandstandPushups/v_HandStandPushups_g25_c07.avi", "UCF-101/TaiChi/making_of.avi", "trainlist01.txt")
    found = read_folder(tmp_path, "ucf101")
    assert [(v.name.split("/")[-1], v.caption) for v in found] == [
        ("v_ApplyEyeMakeup_g01_c01.avi", "apply eye makeup"),
        ("v_HandStandPushups_g25_c07.avi", "handstand pushups"),  # the data set's own two spellings: the folder's counts
        ("v_TaiChi_g02_c01.avi", "tai chi"),
    ]
    assert read_folder(tmp_path / "UCF-101" / "TaiChi", "ucf101")[0].caption == "tai chi"  # one class alone
    assert class_words("YoYo") == "yo yo" and class_words("HTTPServer2") == "http server 2"


def test_msrvtt_takes_the_first_sentence_and_only_test_videos_where_splits_are_told(tmp_path):
    put(tmp_path, "TestVideo/video7.mp4", "TrainValVideo/video1.mp4", "TestVideo/video8.mp4", "TestVideo/other.mp4")
    sentences = [("video8", "  a man\nsings "), ("video7", ""), ("video7", "a cat"), ("video7", "cats"), ("video1", "a car")]
    annotate(tmp_path, sentences)
    every = {v.path.stem: v.caption for v in read_folder(tmp_path, "msrvtt")}
    assert every == {"video1": "a car", "video7": "a cat", "video8": "a man sings"}
    annotate(tmp_path, sentences, [("video7", "test"), ("video8", "test"), ("video1", "train"), ("video9", "test")])
    assert [v.name for v in read_folder(tmp_path, "msrvtt")] == ["TestVideo/video7.mp4", "TestVideo/video8.mp4"]


def test_msrvtt_files_one_for_training_one_for_the_test(tmp_path):
    put(tmp_path, "video1.mp4", "video2.mp4")
    annotate(tmp_path, [("video1", "a car")], [("video1", "train")], "train_val_videodatainfo.json")
    annotate(tmp_path, [("video2", "a bus")], [("video2", "test")], "test_videodatainfo.json")
    (tmp_path / "other.json").write_text("[1, 2]")  # a neighbour that is none of ours
    assert [v.caption for v in read_folder(tmp_path, "msrvtt")] == ["a bus"]
    given = read_folder(tmp_path, "msrvtt", tmp_path / "train_val_videodatainfo.json")
    assert [v.caption for v in given] == ["a car"]


def test_msrvtt_by_the_csv_of_the_1k_test(tmp_path):
    put(tmp_path, "all/video9.mp4", "all/video3.mp4", "all/video4.mp4")
    table = 'key,vid_key,video_id,sentence\nret0,msr9,video9,"a dog, running"\nret1,msr4,video4,a boat\n'
    (tmp_path / "MSRVTT_JSFUSION_test.csv").write_text(table, encoding="utf-8")
    assert {v.path.stem: v.caption for v in read_folder(tmp_path, "msrvtt")} == {"video9": "a dog, running", "video4": "a boat"}
    annotate(tmp_path, [("video3", "a tree")])  # the whole annotation goes before the 1k test, unless that is named
    assert [v.caption for v in read_folder(tmp_path, "msrvtt")] == ["a tree"]
    assert len(read_folder(tmp_path, "msrvtt", tmp_path / "MSRVTT_JSFUSION_test.csv")) == 2


def test_folders_that_cannot_be_used_say_why(tmp_path):
    with pytest.raises(ValueError, match="Unknown layout 'kinetics': choose from ucf101, msrvtt"):
        read_folder(tmp_path, "kinetics")
    with pytest.raises(FileNotFoundError, match="There is no folder .*nowhere"):
        read_folder(tmp_path / "nowhere", "ucf101")
    with pytest.raises(ValueError, match="no videos named as UCF-101"):
        read_folder(tmp_path, "ucf101")
    with pytest.raises(ValueError, match="tells no captions: put MSR-VTT's JSON"):
        read_folder(tmp_path, "msrvtt")
    annotate(tmp_path, [("video1", "a car")])
    with pytest.raises(ValueError, match="holds no videos"):
        read_folder(tmp_path, "msrvtt")
    put(tmp_path, "video2.mp4")
    with pytest.raises(ValueError, match="None of the 1 annotated videos, such as 'video1', is in"):
        read_folder(tmp_path, "msrvtt")
    with pytest.raises(FileNotFoundError, match="There is no file .*absent.json"):
        read_folder(tmp_path, "msrvtt", tmp_path / "absent.json")
    with pytest.raises(ValueError, match="of no use with layout ucf101"):
        read_folder(tmp_path, "ucf101", tmp_path / "videodatainfo.json")
    (tmp_path / "videodatainfo.json").write_text('{"sentences": [')
    with pytest.raises(ValueError, match="videodatainfo.json' is no JSON"):
        read_folder(tmp_path, "msrvtt")
    (tmp_path / "videodatainfo.json").write_bytes(b'{"sentences": "\xff"}')
    with pytest.raises(ValueError, match="cannot be read as UTF-8"):
        read_folder(tmp_path, "msrvtt")


def test_annotations_with_rows_that_are_none(tmp_path):
    put(tmp_path, "video1.mp4")
    rows = [7, {"video_id": 5, "caption": "x"}, {"video_id": "video1"}, {"video_id": "video1", "caption": "a car"}]
    (tmp_path / "a.json").write_text(json.dumps({"sentences": rows, "videos": [None, {"video_id": []}]}))
    assert [v.caption for v in read_folder(tmp_path, "msrvtt")] == ["a car"]


def test_the_order_is_the_seeds_alone_and_the_first_are_of_many_classes(tmp_path):
    put(tmp_path, *(f"Class{'ABCDEFGHIJ'[c]}/v_C_g01_c{k:02d}.avi" for c in range(10) for k in range(20)))
    videos = read_folder(tmp_path, "ucf101")
    order = shuffled(videos)
    assert order == shuffled(videos[::-1]) and set(order) == set(videos) and order != videos
    assert order != shuffled(videos, seed=1)
    assert len({v.caption for v in order[:40]}) >= 9  # of 10; in the order of names they would be of 2


@pytest.mark.parametrize(("frames", "stride"), [(16, 3), (4, 15), (1, 3), (46, 1)])
def test_a_clip_is_every_third_frame_from_the_first(clip, frames, stride):
    found = read_clip(clip, 64, frames, stride)
    assert found.shape == (frames, 3, 64, 64) and found.dtype == torch.float32 and -1 <= found.min() <= found.max() <= 1
    # the corner of 30 x 30 px is 24 x 32 after the squeeze from 80 x 60
    corner = found[:, :, 4:28, 4:20].mean((1, 2, 3)).add(1).mul(127.5)
    assert corner.tolist() == pytest.approx([level(stride * k) for k in range(frames)], abs=2)


def test_one_frame_too_few_is_refused(tmp_path):
    short = write_video(tmp_path / "short.mp4", 45)
    with pytest.raises(ValueError, match="short.mp4' is too short: 16 frames, every 3 of the video, need 46"):
        read_clip(short, 64)
    assert len(read_clip(short, 64, 15)) == 15
    put(tmp_path, "broken.avi")
    with pytest.raises(ValueError, match="broken.avi' is damaged"):
        read_clip(tmp_path / "broken.avi", 64)


def test_nothing_behind_the_last_frame_is_decoded(tmp_path):
    long = write_video(tmp_path / "long.mp4", 1200, size=(32, 32))  # 1000 frames is what a whole animation may have
    assert len(read_clip(long, 32)) == 16
