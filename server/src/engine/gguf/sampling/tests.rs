use super::*;

fn greedy() -> Sampling {
    Sampling {
        temperature: 0.0,
        ..Sampling::default()
    }
}

fn begin<'a>(sampling: &'a Sampling, recent: &'a [Token]) -> Begin<'a> {
    Begin {
        sampling,
        logprobs: None,
        recent,
        logit_bias: &[],
        rules: None,
    }
}

fn new(sampling: &Sampling) -> Sampler {
    Sampler::new(begin(sampling, &[]), 16).unwrap()
}

fn draw(sampler: &mut Sampler, logits: &[f32]) -> Token {
    let chosen = sampler.sample(logits, &mut Scratch::new()).unwrap();
    assert!(!chosen.is_last);
    chosen.token
}

fn sample(sampling: &Sampling, recent: &[Token], logits: &[f32]) -> Token {
    let mut sampler = Sampler::new(begin(sampling, recent), 16).unwrap();
    draw(&mut sampler, logits)
}

#[test]
fn greedy_takes_the_first_of_the_highest() {
    assert_eq!(sample(&greedy(), &[], &[0.5, 2.0, -1.0, 2.0]), 1);
    assert_eq!(sample(&greedy(), &[], &[f32::NAN, -3.0, -2.0]), 2);
}

#[test]
fn logits_that_are_no_numbers_are_an_error() {
    for sampling in [greedy(), Sampling::default()] {
        let mut sampler = new(&sampling);
        let result = sampler.sample(&[f32::NAN; 8], &mut Scratch::new());
        assert!(matches!(result, Err(Error::Engine(_))), "{result:?}");
    }
}

#[test]
fn a_repeated_token_loses_to_the_next_best() {
    let sampling = Sampling {
        repeat_penalty: 2.0,
        ..greedy()
    };
    assert_eq!(sample(&sampling, &[], &[1.0, 1.5]), 1);
    assert_eq!(sample(&sampling, &[1], &[1.0, 1.5]), 0);
    // A negative logit is multiplied.
    assert_eq!(sample(&sampling, &[1], &[-1.5, -1.0]), 0);
}

#[test]
fn frequency_counts_and_presence_does_not() {
    let frequency = Sampling {
        frequency_penalty: 0.4,
        ..greedy()
    };
    assert_eq!(sample(&frequency, &[1], &[1.0, 1.5]), 1);
    assert_eq!(sample(&frequency, &[1, 1], &[1.0, 1.5]), 0);
    let presence = Sampling {
        presence_penalty: 0.4,
        ..greedy()
    };
    assert_eq!(sample(&presence, &[1, 1], &[1.0, 1.5]), 1);
}

#[test]
fn only_the_last_tokens_are_penalised() {
    let sampling = Sampling {
        repeat_penalty: 2.0,
        repeat_last_n: 2,
        ..greedy()
    };
    assert_eq!(sample(&sampling, &[1, 2, 3], &[1.0, 1.5, 0.0, 0.0]), 1);
    assert_eq!(sample(&sampling, &[2, 1, 3], &[1.0, 1.5, 0.0, 0.0]), 0);
    let whole = Sampling {
        repeat_last_n: -1,
        ..sampling
    };
    assert_eq!(sample(&whole, &[1, 2, 3], &[1.0, 1.5, 0.0, 0.0]), 0);
    let none = Sampling {
        repeat_last_n: 0,
        ..sampling
    };
    assert_eq!(sample(&none, &[1], &[1.0, 1.5]), 1);
}

#[test]
fn a_chosen_token_is_penalised_from_then_on() {
    let sampling = Sampling {
        repeat_penalty: 2.0,
        ..greedy()
    };
    let mut sampler = new(&sampling);
    assert_eq!(draw(&mut sampler, &[1.0, 1.5]), 1);
    assert_eq!(draw(&mut sampler, &[1.0, 1.5]), 0);
}

#[test]
fn a_seed_repeats_and_no_seed_does_not() {
    let logits = [0.0; 1000];
    let drawn = |seed| {
        let sampling = Sampling {
            seed,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            ..Sampling::default()
        };
        let mut sampler = new(&sampling);
        [(); 8].map(|()| draw(&mut sampler, &logits))
    };
    assert_eq!(drawn(Some(7)), drawn(Some(7)));
    assert_ne!(drawn(Some(7)), drawn(Some(8)));
    assert_ne!(drawn(None), drawn(None));
}

#[test]
fn top_p_and_min_p_and_typical_p_leave_out_the_improbable() {
    // Probabilities of about 0.66, 0.24, 0.09 and 0.01.
    let logits = [4.0, 3.0, 2.0, 0.0];
    let drawn = |sampling: Sampling| {
        let mut sampler = new(&sampling);
        let mut tokens: Vec<_> = (0..400).map(|_| draw(&mut sampler, &logits)).collect();
        tokens.sort_unstable();
        tokens.dedup();
        tokens
    };
    let open = Sampling {
        seed: Some(1),
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        ..Sampling::default()
    };
    assert_eq!(drawn(Sampling { top_k: 2, ..open }), [0, 1]);
    assert_eq!(drawn(Sampling { top_p: 0.8, ..open }), [0, 1]);
    assert_eq!(drawn(Sampling { min_p: 0.3, ..open }), [0, 1]);
    assert_eq!(
        drawn(Sampling {
            typical_p: 0.1,
            ..open
        })
        .len(),
        1
    );
    assert!(drawn(open).len() >= 3);
}

#[test]
fn options_without_meaning_are_refused() {
    let refused = [
        Sampling {
            temperature: f32::NAN,
            ..Sampling::default()
        },
        Sampling {
            top_p: f32::INFINITY,
            ..Sampling::default()
        },
        Sampling {
            repeat_penalty: 0.0,
            ..Sampling::default()
        },
        Sampling {
            repeat_last_n: -2,
            ..Sampling::default()
        },
    ];
    for sampling in refused {
        let result = Sampler::new(begin(&sampling, &[]), 16);
        assert!(
            matches!(result.map(|_| ()), Err(Error::InvalidJob(_))),
            "{sampling:?}"
        );
    }
}

/// Lets one set of tokens come first and nothing after it.
struct Only(&'static [Token]);

impl Rules for Only {
    fn allows(&mut self, token: Token) -> Result<bool, Error> {
        Ok(self.0.contains(&token))
    }

    fn restrict(&mut self, logits: &mut [f32]) -> Result<(), Error> {
        for (token, logit) in (0..).zip(logits) {
            if !self.0.contains(&token) {
                *logit = f32::NEG_INFINITY;
            }
        }
        Ok(())
    }

    fn accept(&mut self, token: Token) -> Result<bool, Error> {
        assert!(self.0.contains(&token), "{token} was not allowed");
        Ok(true)
    }
}

fn under_rules(
    sampling: &Sampling,
    only: &'static [Token],
    logits: &[f32],
) -> Result<Chosen, Error> {
    let begin = Begin {
        rules: Some(Box::new(Only(only))),
        ..begin(sampling, &[])
    };
    let mut sampler = Sampler::new(begin, 16).unwrap();
    sampler.sample(logits, &mut Scratch::new())
}

#[test]
fn rules_leave_the_best_of_what_they_allow() {
    for sampling in [
        greedy(),
        Sampling {
            top_k: 1,
            ..Sampling::default()
        },
    ] {
        let chosen = under_rules(&sampling, &[0, 2], &[1.0, 3.0, 2.0]).unwrap();
        assert_eq!((chosen.token, chosen.is_last), (2, true));
    }
    let refused = under_rules(&greedy(), &[7], &[1.0, 3.0, 2.0]);
    assert!(matches!(refused, Err(Error::InvalidJob(_))), "{refused:?}");
}

#[test]
fn under_rules_the_allowed_tokens_keep_their_odds() {
    let open = Sampling {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        ..Sampling::default()
    };
    let draws = 4000;
    let ones = (0..draws)
        .filter(|seed| {
            let sampling = Sampling {
                seed: Some(*seed),
                ..open
            };
            under_rules(&sampling, &[0, 1], &[0.0, 3_f32.ln(), 2.0])
                .unwrap()
                .token
                == 1
        })
        .count();
    // Three to one; the standard deviation is about 27.
    assert!((2850..3150).contains(&ones), "{ones} of {draws}");
}

#[test]
fn a_bias_moves_and_forbids() {
    let sampling = greedy();
    let biased = |bias: &[(Token, f32)], logits: &[f32]| {
        let begin = Begin {
            logit_bias: bias,
            ..begin(&sampling, &[])
        };
        Sampler::new(begin, 16)
            .unwrap()
            .sample(logits, &mut Scratch::new())
    };
    let token = |bias: &[(Token, f32)]| biased(bias, &[1.0, 2.0, 3.0]).unwrap().token;
    assert_eq!(token(&[]), 2);
    assert_eq!(token(&[(0, 5.0)]), 0);
    assert_eq!(token(&[(2, f32::NEG_INFINITY)]), 1);
    let nothing = biased(&[(0, f32::NEG_INFINITY)], &[1.0]);
    assert!(matches!(nothing, Err(Error::InvalidJob(_))), "{nothing:?}");
}
