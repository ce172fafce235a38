"""Pipeline parallel: several processes hold some layers each of one GPT-2, by torch.distributed.pipelining.

Asked for by recipe.pipelineParallel. The micro-batches are the recipe's accumulation steps: with at least as many as
there are stages the schedule is 1F1B (Narayanan et al. 2019, arXiv:1806.03377), which keeps activations of as many
micro-batches as there are stages; with fewer it is GPipe's (Huang et al. 2019, arXiv:1811.06965). With more processes
than stages, each stage's replicas average their gradients as DDP does.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from workloads.data.sample_order import Batch
from workloads.models.empty import give_memory
from workloads.pod.environment import Place
from workloads.train.initial_values import Values
from workloads.train.optimisation import NumberFormat
from workloads.train.performance_options import prepare
from workloads.train.strategies.base import LossOf, Ready, Single
from workloads.train.strategies.pipeline_stage import EMBEDDING, Stage, check
from workloads.train.world import World


class Pipeline(Single):
    """A mesh of data x pipeline; neighbours hold one model, the first of them its first layers."""

    name = "pipeline"
    compresses = False
    holds_zeros = False
    cuts = True

    def setup(self, place: Place) -> World:
        """Meet the other processes, in groups that hold one model each."""
        self.world = World(place, together=self.recipe.pipeline_parallel)
        return self.world

    def wrap(self, model: nn.Module, values: Values | None = None) -> None:
        """Take the model; only this process's layers come to its device."""
        self.values = values
        world, device = self.world, self.world.device
        self.numbers = NumberFormat(self.recipe.precision, device)
        whole = check(model, world.together)
        prepare(whole, self.recipe)
        mesh = init_device_mesh(device.type, (world.shares, world.together), mesh_dim_names=("data", "stage"))
        self._line = mesh["stage"].get_group()
        self._index = mesh["stage"].get_local_rank()
        self._stage = Stage(whole, self._index, world.together, self.numbers)
        if values is not None:
            give_memory(self._stage, device, self._fill)
            values.close(world)
        self.model = self._stage.to(device)
        self.wrapped: nn.Module = self.model
        if world.shares > 1:
            ids = [device.index] if device.type == "cuda" else None
            replicas = mesh["data"].get_group()
            self.wrapped = DistributedDataParallel(self.model, device_ids=ids, process_group=replicas)
        self.optimizer = self._optimizer()
        self._schedule: ScheduleGPipe | Schedule1F1B | None = None

    def learn(self, batches: Sequence[Batch], ready: Ready, loss: LossOf) -> list[torch.Tensor]:
        """Send all micro-batches through all stages. The losses are found by the last one, which tells the others."""
        self._pairs, self._loss = [ready(batch) for batch in batches], loss
        tokens = torch.cat([inputs for inputs, _ in self._pairs])
        self._losses = losses = torch.zeros(len(batches), device=self.world.device)
        schedule = self._schedule = self._schedule or self._schedule_of(tokens, len(batches))
        # All have the same seed, and no two layers may drop the same.
        self.world.seed(torch.initial_seed() + (self._index << 48))
        if self._stage.first:
            schedule.step(tokens)
        elif self._stage.last:
            schedule.step(target=torch.arange(len(batches)), return_outputs=False)
        else:
            schedule.step()
        dist.broadcast(losses, group=self._line, group_src=self.world.together - 1)
        return list(losses)

    def _loss_of(self, outputs: torch.Tensor, number: torch.Tensor) -> torch.Tensor:
        """Loss of the micro-batch of the step under way that has this number; its part of the step's loss."""
        inputs, targets = self._pairs[int(number)]
        one = self._loss(inputs, outputs, targets)
        self._losses[int(number)] = one.detach()
        return one / len(self._pairs)

    def _schedule_of(self, tokens: torch.Tensor, parts: int) -> ScheduleGPipe | Schedule1F1B:
        """Schedule for micro-batches of this shape, which all of a run are of."""
        batch, length = len(tokens) // parts, tokens.shape[1]
        device, config = self.world.device, self._stage.config
        hidden = torch.empty(batch, length, config.n_embd, device=device, requires_grad=True)
        logits = torch.empty(batch, length, config.vocab_size, device="meta", requires_grad=True)
        stage = PipelineStage(
            self.wrapped,
            self._index,
            self.world.together,
            device,
            input_args=tokens[:batch] if self._stage.first else hidden,
            output_args=logits if self._stage.last else hidden,
            group=self._line,
        )
        kind = Schedule1F1B if parts >= self.world.together else ScheduleGPipe
        return kind(stage, parts, self._loss_of, scale_grads=False)

    def step(self, rate: float) -> None:
        """Make a step; the embedding's two copies get the sum of their gradients, and so stay the same to the bit."""
        if self._stage.first or self._stage.last:
            gradient: Any = self.model.get_parameter(EMBEDDING).grad
            other, peer = torch.empty_like(gradient), 0 if self._stage.last else self.world.together - 1
            both = [
                dist.P2POp(dist.isend, gradient.clone(), group=self._line, group_peer=peer),
                dist.P2POp(dist.irecv, other, group=self._line, group_peer=peer),
            ]
            for work in dist.batch_isend_irecv(both):
                work.wait()
            gradient += other
        super().step(rate)

    def _clip(self, largest: float) -> None:
        """Clip the gradients by the norm over all stages; the embedding counts once."""
        again = EMBEDDING if self._stage.last else None
        gradients = [one.grad for name, one in self.model.named_parameters() if name != again and one.grad is not None]
        squared = get_total_norm(gradients).square()
        dist.all_reduce(squared, group=self._line)
        clip_grads_with_norm_(self.model.parameters(), largest, squared.sqrt())

    def forward(self, inputs: torch.Tensor, *, last: bool = True) -> torch.Tensor:
        """Outputs for evaluation, through all stages: the last one's are the model's, the others have their own."""
        given = inputs
        if not self._stage.first:
            given = torch.empty(*inputs.shape, self._stage.config.n_embd, device=self.world.device)
            dist.recv(given, group=self._line, group_src=self._index - 1)
        found = self.model(given)
        if not self._stage.last:
            dist.send(found, group=self._line, group_dst=self._index + 1)
        return torch.as_tensor(found)

    def judge(self, inputs: torch.Tensor, sums: Callable[[Any], list[float]]) -> list[float]:
        """The sums of the model's outputs, found by the last stage for all."""
        outputs = self.forward(inputs)
        answer = [sums(outputs) if self._stage.last else []]
        dist.broadcast_object_list(answer, group=self._line, group_src=self.world.together - 1)
        return answer[0]

    def weights(self) -> dict[str, torch.Tensor]:
        """The whole model, sent to the first process, one tensor at a time, over the CPU."""
        own = {name: tensor.cpu() for name, tensor in self.model.state_dict().items()}
        names: list[Any] = [None] * self.world.together
        dist.all_gather_object(names, {name: tuple(tensor.shape) for name, tensor in own.items()}, group=self._line)
        found = dict(own)
        for index, shapes in enumerate(names[1:], 1):
            for name, shape in shapes.items():
                if self._index == index:
                    dist.send(own[name].contiguous(), group=self._line, group_dst=0)
                elif self._index == 0:
                    found[name] = torch.empty(shape)
                    dist.recv(found[name], group=self._line, group_src=index)
        return found
