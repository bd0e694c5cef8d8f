//! A program that trains: every kind of parameter, dropout, shuffled batches, any optimizer.

use sparsetape::data::{Batch, Batches, Dataset, LastBatch};
use sparsetape::optim::{AdaGrad, Adam, AdamW, Ftrl, Optimizer, Schedule, Sgd, Update};
use sparsetape::random::{Popularity, Random};
use sparsetape::train::Checkpoint;
use sparsetape::{
    Bind, DType, Executor, GradReq, Gradients, Init, Parameter, Params, Stype, Tape, Tensor, Var,
};

pub(crate) const FEATURES: usize = 60;
const IDS: usize = 50;
const K: usize = 4;
const HIDDEN: usize = 3;
const BATCH: usize = 4;

/// Makes an optimizer with this schedule and this way to update.
pub(crate) type Maker = fn(Schedule, Update) -> Box<dyn Optimizer>;

/// All optimizers, each with its states.
pub(crate) const MAKERS: &[(&str, Maker)] = &[
    ("sgd", |lr, update| Box::new(Sgd::new(lr).update(update).weight_decay(0.01))),
    ("momentum", |lr, update| {
        Box::new(Sgd::new(lr).update(update).momentum(0.9).weight_decay(0.01).clip_gradient(2.0))
    }),
    ("nesterov", |lr, update| {
        Box::new(Sgd::new(lr).update(update).momentum(0.8).nesterov(true).rescale_grad(0.5))
    }),
    ("adam", |lr, update| Box::new(Adam::new(lr).update(update).beta2(0.95).clip_gradient(2.0))),
    ("adamw", |lr, update| Box::new(AdamW::new(lr).update(update).beta1(0.8))),
    ("adagrad", |lr, update| Box::new(AdaGrad::new(lr).update(update).weight_decay(0.01))),
    ("adagrad by rows", |lr, update| Box::new(AdaGrad::new(lr).update(update).row_wise(true))),
    ("ftrl", |lr, update| Box::new(Ftrl::new(lr).update(update).l1(0.01).l2(0.1))),
];

pub(crate) fn schedules() -> [Schedule; 3] {
    [
        Schedule::constant(0.1),
        Schedule::cosine(0.2, 30).down_to(0.01).warm_up(5),
        Schedule::of(|step| 0.2 / (1.0 + step as f64 / 8.0)).warm_up(3),
    ]
}

/// How the program's steps run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum How {
    Eager,
    /// Two backward passes for a step.
    MicroBatches,
    Executor,
}

#[derive(Clone)]
pub(crate) struct Setup {
    pub optimizer: Maker,
    pub schedule: Schedule,
    pub update: Update,
    pub dtype: DType,
    pub how: How,
}

pub(crate) struct Program {
    setup: Setup,
    pub params: Params,
    pub optimizer: Box<dyn Optimizer>,
    data: Dataset,
    executor: Option<Executor>,
    gradients: Gradients,
}

impl Program {
    pub(crate) fn new(setup: &Setup) -> Program {
        let dtype = setup.dtype;
        let drawn = |name, rows, k, seed, init: Init| match setup.update {
            // In dense mode every row moves: there are no absent ones.
            Update::Dense => {
                let all = init.tensor(Stype::RowSparse, [rows, k], dtype, seed).unwrap();
                Parameter::new(name, all).unwrap()
            }
            _ => Parameter::drawn(name, [rows, k], dtype, init, seed).unwrap(),
        };
        let dense = |name, shape: [usize; 2], seed| {
            let value = Init::Xavier.tensor(Stype::Default, shape, dtype, seed).unwrap();
            Parameter::new(name, value).unwrap()
        };
        let wide = Tensor::zeros(Stype::RowSparse, [FEATURES, 1], dtype).unwrap();
        let params = [
            Parameter::new("wide", wide).unwrap(),
            drawn("embedding", IDS, K, 11, Init::Normal(0.3)),
            dense("table", [FEATURES, K], 12),
            dense("dense", [K, HIDDEN], 13),
            dense("out", [HIDDEN, 1], 14),
            Parameter::new("bias", Tensor::zeros(Stype::Default, [HIDDEN], dtype).unwrap())
                .unwrap(),
            Parameter::new("frozen", Tensor::full([1, 1], 0.5f64).unwrap().cast(dtype)).unwrap(),
        ];
        params[5].set_multipliers(0.5, 0.0).unwrap();
        params[6].set_grad_req(GradReq::Null);
        if setup.how == How::MicroBatches {
            params[..6].iter().for_each(|p| p.set_grad_req(GradReq::Add));
        }
        let optimizer = (setup.optimizer)(setup.schedule.clone(), setup.update);
        Program {
            setup: setup.clone(),
            params: Params::new(&params).unwrap(),
            optimizer,
            data: data(dtype),
            executor: None,
            gradients: Gradients::default(),
        }
    }

    fn batches(&self, seed: u64) -> Batches {
        self.data.batches(BATCH).last(LastBatch::Drop).shuffle(seed).build().unwrap()
    }

    /// Trains on to a step; the bits of each loss. `each` sees the program after each step.
    pub(crate) fn train(
        &mut self,
        run: &mut Checkpoint,
        until: u64,
        mut each: impl FnMut(&Checkpoint, &Program),
    ) -> Vec<u64> {
        let batches = self.batches(run.shuffle_seed);
        let mut losses = Vec::new();
        while run.step < until {
            for batch in batches.epoch(run.epoch).skip(run.batch) {
                if run.step == until {
                    return losses;
                }
                let loss = match self.setup.how {
                    How::Executor => self.executor_step(run, &batch),
                    _ => self.eager_step(run, &batch),
                };
                losses.push(loss.to_bits());
                run.next_batch();
                each(run, self);
            }
            run.next_epoch();
        }
        losses
    }

    fn eager_step(&mut self, run: &Checkpoint, batch: &Batch) -> f64 {
        let parts = if self.setup.how == How::MicroBatches { 2 } else { 1 };
        let (size, mut sum) = (BATCH / parts, 0.0);
        for part in 0..parts {
            let tape = Tape::new();
            tape.train(run.seed, run.step * parts as u64 + part as u64);
            let inputs = inputs(batch, part * size, size).map(|x| tape.constant(x));
            let loss = model(&inputs, |name| tape.parameter(self.params.get(name).unwrap()));
            loss.backward_into(&mut self.gradients).unwrap();
            sum += loss.value().unwrap().cast(DType::F64).item::<f64>().unwrap();
        }
        self.optimizer.step(&self.params, &self.gradients).unwrap();
        self.gradients.clear();
        sum
    }

    fn executor_step(&mut self, run: &Checkpoint, batch: &Batch) -> f64 {
        let inputs = inputs(batch, 0, BATCH);
        let (params, names) = (&self.params, ["x", "ids", "y"]);
        let executor = self.executor.get_or_insert_with(|| {
            let tape = Tape::new();
            let vars = inputs.clone().map(|x| tape.constant(x));
            let loss = model(&vars, |name| tape.parameter(params.get(name).unwrap()));
            let named = [("x", vars[0]), ("ids", vars[1]), ("y", vars[2])];
            let graph = tape.freeze(named, [loss]).unwrap();
            let bind = names
                .iter()
                .zip(&inputs)
                .fold(Bind::from(params), |bind, (name, x)| bind.tensor(*name, x.clone()));
            let mut executor = graph.bind(bind.train()).unwrap();
            executor.set_seed(run.seed, run.step);
            executor
        });
        if executor.seed().1 != run.step {
            executor.set_seed(run.seed, run.step);
        }
        let fed: Vec<_> = names.into_iter().zip(&inputs).collect();
        executor.feed(&fed).unwrap();
        executor.forward(true).unwrap();
        let loss = executor.output(0).unwrap().cast(DType::F64).item::<f64>().unwrap();
        executor.backward_into(&mut *self.optimizer).unwrap();
        assert_eq!(executor.seed(), (run.seed, run.step + 1));
        loss
    }

    /// The checkpoint of now: everything that the rest of the run depends on, to the bit.
    pub(crate) fn bytes(&self, run: &Checkpoint) -> Vec<u8> {
        run.to_bytes(&self.params, &*self.optimizer).unwrap()
    }

    pub(crate) fn resume(setup: &Setup, bytes: &[u8]) -> (Program, Checkpoint) {
        let mut program = Program::new(setup);
        let run = Checkpoint::resume_from_bytes(bytes, &program.params, &mut *program.optimizer);
        (program, run.unwrap())
    }
}

pub(crate) fn begin() -> Checkpoint {
    let notes = [("who".to_owned(), "é\n\"".to_owned())].into();
    Checkpoint { seed: 7, shuffle_seed: 42, notes, ..Checkpoint::default() }
}

fn data(dtype: DType) -> Dataset {
    let mut random = Random::new(5);
    let x = random.csr_rows::<f32>([30, FEATURES], 3, Popularity::Uniform).unwrap();
    let y: Vec<f32> = (0..30).map(|i| (i % 3 % 2) as f32).collect();
    Dataset::new(x.cast(dtype), Tensor::dense([30, 1], y).unwrap().cast(dtype)).unwrap()
}

/// Features, ids and labels of some of a batch's rows.
fn inputs(batch: &Batch, from: usize, rows: usize) -> [Tensor; 3] {
    let id = |row: usize| ((batch.first_row + row) * 7 % IDS) as i64;
    let ids: Vec<i64> = (from..from + rows).map(id).collect();
    let window = |x: &Tensor| x.rows_window(from, from + rows).unwrap();
    [window(&batch.features), Tensor::dense([rows], ids).unwrap(), window(&batch.labels)]
}

fn model<'t>([x, ids, y]: &[Var<'t>; 3], parameter: impl Fn(&str) -> Var<'t>) -> Var<'t> {
    let embedded = parameter("embedding").take(*ids);
    let hidden = (x.dot(parameter("table")) + embedded).dropout(0.3).dot(parameter("dense"));
    let deep = (hidden + parameter("bias")).tanh().dropout(0.2).dot(parameter("out"));
    let logits = deep + x.dot(parameter("wide")) + parameter("frozen");
    logits.sigmoid_binary_cross_entropy(*y)
}
