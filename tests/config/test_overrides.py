"""Overrides of every kind: refused in at most two lines before anything is read or trained, or accepted."""

from __future__ import annotations

import shlex
import sys

import pytest

from model import build
from model.command import command_line

REFUSED = """
trainer.devices=0 | trainer.devices=abc | trainer.devices=[] | trainer.devices=[0,0] | trainer.devices=[a]
trainer.devices=null | trainer.devices=1.5 | trainer.devices=-2 | trainer.devices=true | trainer.devices=[-1]
trainer.num_nodes=0 | trainer.num_nodes=2 | trainer.num_nodes=-1 | trainer.num_nodes=x | trainer.max_time=abc
trainer.max_time=5 | trainer.max_time=0 | trainer.max_time=00:00:00:00 | trainer.max_time=1:2:3
trainer.accelerator=tpu | trainer.accelerator=foo | trainer.accelerator='' | trainer.strategy=foo | trainer.strategy=''
trainer.limit_train_batches=-1 | trainer.limit_train_batches=abc | trainer.limit_train_batches=2.5
trainer.limit_train_batches=0 | trainer.limit_train_batches=0.0 | trainer.limit_train_batches=true
trainer.limit_val_batches=-1 | trainer.limit_val_batches=1.5 | trainer.limit_test_batches=[1] | trainer.fast_dev_run=-1
trainer.fast_dev_run=abc | trainer.fast_dev_run=1.5 | trainer.fast_dev_run=null | trainer.val_check_interval=0
trainer.val_check_interval=-1 | trainer.val_check_interval=0.0 | trainer.val_check_interval=1.5
trainer.val_check_interval=abc | trainer.check_val_every_n_epoch=0 | trainer.check_val_every_n_epoch=-1
trainer.check_val_every_n_epoch=null | trainer.check_val_every_n_epoch=1.5 | trainer.gradient_clip_algorithm=foo
trainer.gradient_clip_val=-1 | trainer.gradient_clip_val=nan | trainer.profiler=foo | trainer.deterministic=foo
trainer.deterministic=2 | trainer.benchmark=foo | trainer.min_epochs=-5 | trainer.min_steps=-4
trainer.num_sanity_val_steps=-5 | trainer.num_sanity_val_steps=null | trainer.max_steps=0 | trainer.max_steps=-2
trainer.max_epochs=0 | trainer.max_epochs=-2 | trainer.max_epochs=null | trainer.precision=16 | trainer.precision=fp16
trainer.matmul_precision=low | trainer.log_every_n_steps=0 | trainer.accumulate_grad_batches=0
trainer.accumulate_grad_batches=1.5 | trainer.checkpoint_every_n_steps=0 | trainer.early_stopping_patience=-1
backbone.activation=foo | backbone.translator_activation=foo | backbone.activation='' | backbone.image_size=1000000
backbone.image_size=0 | backbone.patch_size=0 | backbone.patch_size=7 | backbone.text_width=100000
backbone.text_width=97 | backbone.vision_layers=100000 | backbone.text_layers=0 | backbone.context_length=3
backbone.context_length=1000000 | backbone.translator_ffn=0 | backbone.translator_dropout=1
backbone.translator_dropout=-0.1 | backbone.translator_norm=mid | backbone.translator_init=zeros | backbone.lr=0
backbone.lr=inf | backbone.pretrained='' | backbone.pretrained=nowhere | backbone.name=vit_b_32 | seed=-1
seed=4294967296 | seed=1.5 | seed=null | seed='' | ~seed | ~optimizer.lr | ~evaluate | data.vocab_size=1e20
data.vocab_size=299 | data.vocab_size=100000000 | data.name=coco | data=null | data=1 | data=[scenes,coco]
data=scenes,coco | data=scene | data.batch_size=null | data.batch_size=[1] | data.batch_size={a:1} | data.batch_size=1
data.batch_size=1e9 | data.batch_size=10000000 | data.num_workers=-1 | data.num_workers=1000000 | data.num_workers=auto
data.train_size=1 | data.train_size=-5 | data.train_size=10000000000 | data.val_size=1 | data.test_size=0
data.val_size=null | data.captions=0 | data.captions=6 | data.root=x | data.languages=[en] | data.tokenizer=''
data=emoji data.languages=[] | data=emoji data.languages=[xx] | data=coco | data=coco data.root=''
data=coco data.root=nowhere | loss=null | data=coco 'data.root=<COCO folder>' | data=coco 'data.root=a<b' | loss=1
loss= | loss=normsv5x | loss=[norms] | loss=_keys | loss.name=norms | loss.eps=0 | loss.eps=inf | loss.eps=1e308
loss.eps=1e-320 | loss.eps=-1 | loss.targets= | loss.targets=hard | loss.mask=some | loss.axes=one | loss.reduction=none
loss.evaluation=fast | loss.scale_init=1 | loss.scale_cap=0 | loss.scale_cap=-1 | loss.scale_cap=inf | loss.memory_mib=0
loss.backend=fast | loss.backend=null
loss.memory_mib=99999999999 | loss=stock loss.targets=soft | loss=symile loss.mask=raw
loss.mask=sigmoid loss.axes=first | loss.targets=soft loss.evaluation=lines | model=clip model.eot_select=gumbel
model.token_select=gumbel | model.eot_select=last | model.projection=inverse | model.captions=0 | model.captions=6
model=v5335dim model.token_select=hard | model=V534dim | optimizer.lr=0 | optimizer.lr=-1 | optimizer.lr=inf
optimizer.lr=nan | optimizer.lr=1e300 | optimizer.lr=true | optimizer.lr=null | optimizer.lr=fast
optimizer.lr=${nothing} | optimizer.lr=${optimizer.lr} | optimizer.lr=${oc.env:NOT_THERE} | optimizer.weight_decay=-1
optimizer.weight_decay=inf | optimizer.betas=0.9 | optimizer.betas=[0.9] | optimizer.betas=[0.9,1.0]
optimizer.betas=[0.9,nan] | optimizer.betas=[0.9,-0.1] | optimizer.eps=0 | optimizer=sgd
optimizer=lion optimizer.eps=1e-8 | optimizer.lrr=1 | schedule.warmup=1 | schedule.warmup=-0.1 | schedule.final=1
schedule=constant schedule.final=0.1 | schedule=plateau schedule.factor=1 | schedule=plateau schedule.patience=-1
schedule=linear | monitor.clip=0 | monitor.clip=-1 | monitor.clip=inf | monitor.clip_above=1
monitor.clip=2 monitor.clip_above=1 | monitor.every_n_steps=0 | monitor.vanishing=-1 | monitor.exploding=0
monitor.on_nonfinite=stop | monitor.max_skips=-1 | monitor.noise_std=-1 | monitor.noise_std=1e30
monitor.noise_gamma=-1 | monitor.noise_gamma=inf | monitor.per_layer=some | monitor.clip=1 trainer.gradient_clip_val=1
monitor=on | analysis.samples=1 | analysis.cka_samples=3 | analysis.examples=-1 | analysis.resamples=0 | analysis=some
analysis.cka_reference=nowhere | evaluate=test | evaluate=[tests] | evaluate=[test,test] | evaluate=null
objective=val/loss | objective=recall@1 | train=maybe | train=false | ckpt_path=nowhere | ckpt_path='' | ckpt_path=last
ckpt_path=best | logger=wandb logger.project='' | logger=mlflow | experiment=nothing | experiment=1 | experiment=null
+trainer.max_steps=5 | +seed=1 | hydra.run.dir= | hydra.sweep.dir= | hydra.run.dir=/proc/x | hydra.run.dir=/dev/null/x
hydra.sweep.subdir=x | hydra.run.dirr=x | hydra/launcher=none | =1 | loss==norms | +loss=norms | los=norms | +typo=1
++optimizer.typo=1 | typo | optimizer.lr | a.b.c=1 | loss.eps.x=1 | loss=norms,einsum | --resolve | --foo | -x | --cfg
--cfg nothing | --multirun --cfg job | loss=norms -m seed=1 | --config-dir | --config-name=nothing | -m seed=range(0)
trainer.sync_batchnorm=some | trainer.enable_checkpointing=perhaps | trainer.enable_progress_bar=null
trainer.enable_model_summary=x | trainer.max_epochs=1.5 | trainer.max_steps=1e3x | trainer.log_every_n_steps=-5
trainer.checkpoint_every_n_steps=null | trainer.matmul_precision=1 | trainer=tpu | trainer.name=cpu
trainer.callbacks=[] | trainer.logger=false | backbone=vit_l_14 | backbone.text_heads=0 | backbone.vision_heads=5
backbone.translator_heads=7 | backbone.translator_layers=-1 | backbone.text_width=-96 | backbone.lr=nan
backbone.vision_width=0 | data.batch_size=-4 | data.batch_size=1.5 | data.captions=x | data.vocab_size=null
data.test_size=-1 | data.augment=true | data.transforms=light | data/transforms=_keys
data=table | data=table data.root=nowhere | data=table data.root=. | data=table data.root='' | data.few_captions=repeat
data=table data.root=/etc/hostname | data=table data.caption_columns=[] | data=table data.few_captions=drop
data=table data.caption_columns=text | data=table data.captions=2 | data=table data.captions=0 | data.image_column=a
data=table data.image_column=null | data=table data.split_column='' | data=table data.images=nowhere
data.transforms.hue=1 | data.transforms.crop_scale=[1,0.5] | data.transforms.blur_sigma=[0,1]
data.caption_order=random | data.transforms.flip=null | data.transforms.crop_ratio=3
loss.normalize=null | loss.memory_mib=x | loss.eps=null | loss.scale_cap=nan
loss=pairwise loss.axes=first | loss=stable_norm loss.normalize=false | model=none | model.captions=1.5
model.projection= | optimizer.name=lion | optimizer.weight_decay=nan | optimizer.betas=[] | schedule.warmup=nan
schedule.final=-1 | monitor.clip=nan | monitor.max_skips=x | monitor.enabled=perhaps | analysis.samples=0
analysis.probe_samples=1 | evaluate=[1] | report=maybe | seed=[1] | seed={a:1}
init_from=nowhere | init_from='' | init_from=. | init_from=nowhere train=false | 'init_from=<run>' | init_from=[a]
backbone.freeze=image | backbone.freeze=[images] | backbone.freeze=[image,image] | backbone.freeze=[logit_scale]
backbone.freeze=[image,text,translator,projection] | model=clip backbone.freeze=[translator] | backbone.freeze=null
model=clip backbone.freeze=[image,text] | model=clip backbone.freeze=[projection] | backbone.freeze={image:true}
optimizer.lr_scale={image:0} | optimizer.lr_scale={image:-1} | optimizer.lr_scale={images:1} | optimizer.lr_scale=0.1
optimizer.lr_scale={image:nan} | optimizer.lr_scale={image:1e9} | optimizer.lr_scale={image:fast}
optimizer.lr_scale=[image] | optimizer.lr_scale=null | optimizer.lr_scale.images=1 | optimizer.lr_scale.image=0
optimizer.lr_scale={image:null} | model=clip optimizer.lr_scale={translator:2} | optimizer.lr_scale={image:{a:1}}
backbone.freeze=[image] optimizer.lr_scale={image:0.1} | trainer.best=recall@1 | trainer.best=val/recall@2
trainer.best=train/loss | trainer.best=null | trainer.best=test/recall@1 | trainer.best_mode=up | trainer.best_mode=null
trainer.best=val/loss trainer.best_mode=max | trainer.best=val/recall@5 trainer.best_mode=min | trainer.best_mode=min
trainer.early_stopping_patience=2 trainer.limit_val_batches=0
data=shards data.captions=3 | data=shards data.captions=3 data.root=nowhere | data=shards data.captions=0
data=shards data.captions=3 data.root=3 | data=shards data.captions=3 data.root=[]
data=shards data.captions=3 data.root=/dev data.few_captions=drop | data=shards data.captions=3 data.caption_keys=[]
data=shards data.captions=3 data.root='"a{0..3"' | data=shards data.captions=3 data.root=s3://a/b.tar
data=shards data.captions=3 data.txt_lines=some | data=scenes data.txt_lines=true
"""
# Hydra converts a number at a boolean key to a boolean: 2 becomes true.
ACCEPTED = """
loss.normalize=2 | report=2 | trainer.detect_anomaly=3 | trainer.devices=auto | trainer.devices=1
trainer.max_time=00:00:10:00 | trainer.strategy=ddp | trainer.limit_val_batches=0 | trainer.fast_dev_run=2
trainer.limit_train_batches=3 | trainer.limit_train_batches=0.5 | trainer.profiler=simple | trainer.deterministic=warn
trainer.num_sanity_val_steps=-1 | trainer.max_epochs=null trainer.max_steps=5
trainer.max_epochs=-1 trainer.max_time=00:00:00:10 | trainer.matmul_precision=high | seed=4294967295
trainer.check_val_every_n_epoch=null trainer.val_check_interval=7 | trainer.precision=bf16-mixed | optimizer.lr=1e10
optimizer=lion | evaluate=[] | evaluate=[val,test] | data.train_size=200 | loss.scale_cap=5 | loss=siglip | model=clip
model=v5335dim | backbone.activation=relu | schedule=plateau | monitor=off | monitor.clip=0.5 monitor.clip_above=2
analysis=full | logger=csv | ++seed=3 | optimizer.lr=${backbone.lr} | backbone.freeze=[image,translator]
optimizer.lr_scale={image:0.1,logit_scale:2} | optimizer.lr_scale.text=0.5 | optimizer=lion optimizer.lr_scale={text:3}
backbone.freeze=[text] optimizer.lr_scale={image:0.1} | trainer.best=val/loss | optimizer.lr_scale={}
trainer.best=val/loss trainer.best_mode=min | trainer.best=val/swap_acc trainer.best_mode=max
loss=einsum trainer.best=val/recall@1
"""


class Reached(Exception):
    """The configuration was accepted."""


def lines(table: str) -> list[str]:
    return [case.strip() for row in table.strip().splitlines() for case in row.split(" | ")]


def cases(table: str, every: int) -> list:
    """One in `every` runs by default."""
    return [
        pytest.param(case, marks=[] if k % every == 0 else [pytest.mark.slow]) for k, case in enumerate(lines(table))
    ]


@pytest.fixture
def answer(tmp_path, monkeypatch, capsys):
    """`answer(overrides)` returns the exit code and the message of a command that stops before it reads data."""

    def reached(*arguments):
        raise Reached

    def call(overrides: str) -> tuple[int, str]:
        monkeypatch.chdir(tmp_path)
        quiet = ["hydra/job_logging=none", "hydra/hydra_logging=none"]
        words = shlex.split(overrides) if "'" in overrides else overrides.split()
        flags_last = words[-1].startswith("-") or words[0].startswith("--")
        monkeypatch.setattr(sys, "argv", ["train.py", *words, *([] if flags_last else quiet)])
        monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
        monkeypatch.setattr(build, "make_data", reached)
        return command_line(), capsys.readouterr().err

    return call


def test_how_many():
    assert len(lines(REFUSED) + lines(ACCEPTED)) >= 350
    assert len(set(lines(REFUSED) + lines(ACCEPTED))) == len(lines(REFUSED) + lines(ACCEPTED))


@pytest.mark.parametrize("overrides", cases(REFUSED, 80))
def test_an_override_is_refused_in_two_lines(overrides, answer, tmp_path):
    code, message = answer(overrides)
    assert code == 2, message
    assert 1 <= len(message.splitlines()) <= 2, message
    # A folder that cannot be written to has the message of every file that cannot be written.
    assert "allowed: " in message or "choose another hydra.run.dir" in message
    left = [
        path
        for path in tmp_path.rglob("*")
        if path.is_file() and ".hydra" not in path.parts and path.name != "multirun.yaml"
    ]
    assert left == []


@pytest.mark.parametrize("overrides", cases(ACCEPTED, 24))
def test_an_override_is_accepted(overrides, answer):
    with pytest.raises(Reached):
        answer(overrides)
