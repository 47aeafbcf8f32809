"""What the card says that does not depend on the files: what a column means, whose terms hold, what there is to cite.

Figures on the published files are those of public sources: the paper (arXiv 2307.04087, v3), its repository
(https://github.com/BAAI-DCAI/Visual-Instruction-Tuning) and its issues.
"""

from __future__ import annotations

__all__ = ["CITATION", "COLUMNS", "PRETTY_NAME", "SUMMARY", "SUMMARY_GENERATED", "UPSTREAM"]

PRETTY_NAME = "SVIT: Scaling up Visual Instruction Tuning"

SUMMARY = (
    "Visual-instruction questions and answers on Visual Genome photos. "
    "The text is that of [SVIT](https://arxiv.org/abs/2307.04087), which a language model wrote from what people had "
    "annotated in the photos; here it is joined with the photos, ready to be loaded and looked at."
)
SUMMARY_GENERATED = (
    "Visual-instruction questions and answers on Visual Genome photos. "
    "The text was generated from what people had annotated in the photos, in the way of "
    "[SVIT](https://arxiv.org/abs/2307.04087) and not by its authors."
)

COLUMNS = {
    "image_id": "the photo's id in Visual Genome",
    "id": "the record's id in its source",
    "image": "the photo, its bytes as they were published; decoded as RGB",
    "width": "of the decoded photo, pixels",
    "height": "of the decoded photo, pixels",
    "image_path": "where the source has the photo; null where the record is text only",
    "conversations": "everything that is asked of the photo",
    "topic": "what a dialogue is about; null where the task has no topics",
    "task": "which of the four tasks it is of",
    "messages": "questions and answers, alternating",
    "role": "`user` or `assistant`",
    "content": "the text",
}

UPSTREAM = (
    ("SVIT's text", "CC BY 4.0; gated, its terms are to be accepted", "https://huggingface.co/datasets/BAAI/SVIT"),
    (
        "Visual Genome",
        "annotations CC BY 4.0; each photo as its uploader chose on Flickr",
        "https://homes.cs.washington.edu/~ranjay/visualgenome/",
    ),
    (
        "MS-COCO, from which half of Visual Genome's photos are",
        "annotations CC BY 4.0; each photo as its uploader chose on Flickr",
        "https://cocodataset.org/#termsofuse",
    ),
)

CITATION = """\
@article{zhao2023svit,
  title   = {{SVIT}: Scaling up Visual Instruction Tuning},
  author  = {Zhao, Bo and Wu, Boya and He, Muyang and Huang, Tiejun},
  journal = {arXiv preprint arXiv:2307.04087},
  year    = {2023}
}

@article{krishna2017visualgenome,
  title   = {{Visual Genome}: Connecting Language and Vision Using Crowdsourced Dense Image Annotations},
  author  = {Krishna, Ranjay and Zhu, Yuke and Groth, Oliver and Johnson, Justin and Hata, Kenji and
             Kravitz, Joshua and Chen, Stephanie and Kalantidis, Yannis and Li, Li-Jia and Shamma, David A. and
             Bernstein, Michael S. and Fei-Fei, Li},
  journal = {International Journal of Computer Vision},
  volume  = {123},
  number  = {1},
  pages   = {32--73},
  year    = {2017}
}

@inproceedings{lin2014coco,
  title     = {{Microsoft COCO}: Common Objects in Context},
  author    = {Lin, Tsung-Yi and Maire, Michael and Belongie, Serge and Hays, James and Perona, Pietro and
               Ramanan, Deva and Doll{\\'a}r, Piotr and Zitnick, C. Lawrence},
  booktitle = {European Conference on Computer Vision},
  pages     = {740--755},
  year      = {2014}
}"""
