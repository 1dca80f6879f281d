//! Expressions into values: pipelines, commands, chains of fields and arguments.

use super::data;
use super::execute::{At, Failure, Run};
use super::functions::{self, Parameter, Signature};
use super::literal::{Constant, Number};
use super::marshal;
use super::tree::{Command, Operand, Pipe, Term};
use super::value::{Held, Value};

/// What a command is given beside what is written behind it.
struct Arguments<'t> {
    /// The words of the command, the function first; none where no command is around.
    operands: &'t [Operand],
    /// What the command before the pipe sign gave.
    last: Option<Held>,
}

impl Arguments<'_> {
    const NONE: Self = Self {
        operands: &[],
        last: None,
    };

    fn written(&self) -> &[Operand] {
        self.operands.get(1..).unwrap_or_default()
    }

    fn count(&self) -> usize {
        self.written().len() + usize::from(self.last.is_some())
    }
}

impl<'t> Run<'t> {
    /// The value of a pipeline. Variables that it declares stay.
    pub(super) fn pipeline(&mut self, dot: &Held, pipe: &'t Pipe) -> Result<Held, Failure> {
        self.at(At::Pipe(pipe));
        self.deeper(|run| {
            let mut last = None;
            for command in &pipe.commands {
                run.step(0)?;
                last = Some(run.command(dot, command, last)?.concrete());
            }
            let value = last.unwrap_or(Held::NOTHING);
            for variable in &pipe.variables {
                if pipe.is_assignment {
                    run.assign(variable, value.clone())?;
                } else {
                    run.declare(variable, value.clone());
                }
            }
            Ok(value)
        })
    }

    fn command(
        &mut self,
        dot: &Held,
        command: &'t Command,
        last: Option<Held>,
    ) -> Result<Held, Failure> {
        let first = &command.operands[0];
        let arguments = Arguments {
            operands: &command.operands,
            last,
        };
        match &first.term {
            Term::Field(path) => {
                self.at(At::Operand(first));
                return self.chain(dot.clone(), first, path, &arguments);
            }
            Term::Chain(inner, path) => return self.chained(dot, first, inner, path, &arguments),
            Term::Identifier(name) => {
                self.at(At::Operand(first));
                return self.function(dot, name, At::Command(command), &arguments);
            }
            Term::Variable(path) => return self.variable_path(first, path, &arguments),
            Term::Pipe(pipe) => {
                self.no_arguments(&arguments)?;
                return self.pipeline(dot, pipe);
            }
            Term::Dot | Term::Nil | Term::Bool(_) | Term::Number(_) | Term::Text { .. } => {}
        }
        self.at(At::Operand(first));
        self.no_arguments(&arguments)?;
        match &first.term {
            Term::Dot => Ok(dot.clone()),
            Term::Nil => Err(self.failure("nil is not a command")),
            _ => self.constant(first),
        }
    }

    fn no_arguments(&self, arguments: &Arguments<'t>) -> Result<(), Failure> {
        match arguments.operands.first() {
            Some(first) if arguments.count() > 0 => {
                Err(self.failure(format_args!("can't give argument to non-function {first}")))
            }
            _ => Ok(()),
        }
    }

    fn constant(&mut self, operand: &'t Operand) -> Result<Held, Failure> {
        self.at(At::Operand(operand));
        let value = match &operand.term {
            Term::Bool(truth) => Value::Bool(*truth),
            Term::Text { text, .. } => {
                self.step(text.len())?;
                Value::Text(text.as_slice().into())
            }
            Term::Number(Number { text, value }) => match *value {
                Constant::Int(number) => Value::Int(number),
                Constant::Float(number) => Value::Float(number),
                Constant::Complex(real, imaginary) => Value::Complex(real, imaginary),
                Constant::Overflow => {
                    return Err(self.failure(format_args!("{text} overflows int")));
                }
            },
            _ => {
                return Err(self.failure(format_args!(
                    "can't handle assignment of {operand} to empty interface argument"
                )));
            }
        };
        Ok(value.into())
    }

    fn variable_path(
        &mut self,
        operand: &'t Operand,
        path: &'t [String],
        arguments: &Arguments<'t>,
    ) -> Result<Held, Failure> {
        self.at(At::Operand(operand));
        let value = self.variable(&path[0])?;
        if path.len() == 1 {
            self.no_arguments(arguments)?;
            return Ok(value);
        }
        self.chain(value, operand, &path[1..], arguments)
    }

    fn chained(
        &mut self,
        dot: &Held,
        operand: &'t Operand,
        inner: &'t Operand,
        path: &'t [String],
        arguments: &Arguments<'t>,
    ) -> Result<Held, Failure> {
        self.at(At::Operand(operand));
        let value = match &inner.term {
            Term::Nil => {
                return Err(self.failure(format_args!(
                    "indirection through explicit nil in {operand}"
                )));
            }
            _ => self.argument(dot, inner, Parameter::Unchecked)?,
        };
        self.chain(value, operand, path, arguments)
    }

    /// Follows field after field; the last may be a method, which gets the arguments.
    fn chain(
        &mut self,
        mut receiver: Held,
        operand: &'t Operand,
        path: &'t [String],
        arguments: &Arguments<'t>,
    ) -> Result<Held, Failure> {
        let (last, before) = path.split_last().expect("a path has a field");
        for name in before {
            receiver = self.field(receiver, operand, name, &Arguments::NONE)?;
        }
        self.field(receiver, operand, last, arguments)
    }

    fn field(
        &mut self,
        receiver: Held,
        operand: &'t Operand,
        name: &str,
        arguments: &Arguments<'t>,
    ) -> Result<Held, Failure> {
        self.step(0)?;
        if receiver.is_nothing() {
            return Ok(Held::NOTHING);
        }
        let type_name = receiver.type_name();
        if let Value::Nil = receiver.value {
            return Err(self.failure(format_args!("nil pointer evaluating {type_name}.{name}")));
        }
        if let Some(value) = method(&receiver.value, name) {
            return match arguments.count() {
                0 => Ok(value.into()),
                count => {
                    self.at(At::Operand(operand));
                    Err(self.failure(format_args!(
                        "wrong number of args for {name}: want 0 got {count}"
                    )))
                }
            };
        }
        match &receiver.value {
            Value::Record(record) => {
                if let Some(field) = record.field(name) {
                    if arguments.count() > 0 {
                        return Err(self.failure(format_args!(
                            "{name} has arguments but cannot be invoked as function"
                        )));
                    }
                    return Ok(field);
                }
            }
            Value::Map(map) => {
                if arguments.count() > 0 {
                    return Err(
                        self.failure(format_args!("{name} is not a method but has arguments"))
                    );
                }
                return Ok(map.get(name.as_bytes()));
            }
            _ => {}
        }
        Err(self.failure(format_args!(
            "can't evaluate field {name} in type {type_name}"
        )))
    }

    fn function(
        &mut self,
        dot: &Held,
        name: &str,
        at: At<'t>,
        arguments: &Arguments<'t>,
    ) -> Result<Held, Failure> {
        let signature = functions::signature(name)
            .ok_or_else(|| self.failure(format_args!("{name:?} is not a defined function")))?;
        self.check_count(signature, arguments)?;
        if let "and" | "or" = name {
            return self.short_circuit(dot, name == "or", arguments);
        }
        let mut values = Vec::with_capacity(arguments.count());
        for (index, operand) in arguments.operands.iter().skip(1).enumerate() {
            values.push(self.argument(dot, operand, signature.parameter(index))?);
        }
        if let Some(last) = &arguments.last {
            let parameter = signature.parameter(values.len());
            values.push(self.validated(last.clone(), parameter)?);
        }
        let callee = arguments.operands.get(1).map(Operand::to_string);
        match functions::call(self, name, values, callee) {
            Ok(value) => Ok(value),
            Err(functions::Error::Fatal(failure)) => Err(failure),
            Err(functions::Error::Wrong(what)) => {
                self.at(at);
                Err(self.failure(format_args!("error calling {name}: {what}")))
            }
        }
    }

    fn check_count(&self, signature: &Signature, arguments: &Arguments<'t>) -> Result<(), Failure> {
        let (name, fixed, count) = (signature.name, signature.fixed.len(), arguments.count());
        if signature.rest.is_some() {
            if count < fixed {
                let written = arguments.written().len();
                return Err(self.failure(format_args!(
                    "wrong number of args for {name}: want at least {fixed} got {written}"
                )));
            }
        } else if count != fixed {
            return Err(self.failure(format_args!(
                "wrong number of args for {name}: want {fixed} got {count}"
            )));
        }
        Ok(())
    }

    /// `and` and `or` evaluate no more arguments than it takes.
    fn short_circuit(
        &mut self,
        dot: &Held,
        is_or: bool,
        arguments: &Arguments<'t>,
    ) -> Result<Held, Failure> {
        let mut value = Held::NOTHING;
        for operand in arguments.operands.iter().skip(1) {
            value = self.argument(dot, operand, Parameter::Reflected)?;
            if value.value.is_true() == is_or {
                return Ok(value);
            }
        }
        Ok(arguments.last.clone().unwrap_or(value))
    }

    /// An argument as a parameter wants it.
    fn argument(
        &mut self,
        dot: &Held,
        operand: &'t Operand,
        parameter: Parameter,
    ) -> Result<Held, Failure> {
        self.at(At::Operand(operand));
        self.step(0)?;
        let value = match &operand.term {
            Term::Dot => dot.clone(),
            Term::Nil => {
                return match parameter {
                    Parameter::Any => Ok(Held::interface(Value::Nil)),
                    Parameter::Reflected | Parameter::Unchecked => Ok(Held::NOTHING),
                    Parameter::Text => Err(self.failure("cannot assign nil to string")),
                };
            }
            Term::Field(path) => self.chain(dot.clone(), operand, path, &Arguments::NONE)?,
            Term::Variable(path) => self.variable_path(operand, path, &Arguments::NONE)?,
            Term::Pipe(pipe) => self.pipeline(dot, pipe)?,
            Term::Identifier(name) => {
                self.function(dot, name, At::Operand(operand), &Arguments::NONE)?
            }
            Term::Chain(inner, path) => {
                self.chained(dot, operand, inner, path, &Arguments::NONE)?
            }
            Term::Bool(_) | Term::Number(_) if parameter == Parameter::Text => {
                return Err(self.failure(format_args!("expected string; found {operand}")));
            }
            Term::Bool(_) | Term::Number(_) | Term::Text { .. } => return self.constant(operand),
        };
        self.validated(value, parameter)
    }

    fn validated(&self, held: Held, parameter: Parameter) -> Result<Held, Failure> {
        match parameter {
            Parameter::Reflected | Parameter::Unchecked => Ok(held),
            Parameter::Any => Ok(Held::interface(held.value)),
            Parameter::Text if held.is_nothing() => {
                Err(self.failure("invalid value; expected string"))
            }
            Parameter::Text => match held.value {
                Value::Text(_) => Ok(held.concrete()),
                other => {
                    let name = other.type_name();
                    Err(self.failure(format_args!(
                        "wrong type for value; expected string; got {name}"
                    )))
                }
            },
        }
    }
}

/// What a method without arguments gives.
fn method(value: &Value, name: &str) -> Option<Value> {
    match (value, name) {
        (_, "String") => marshal::own_text(value).map(|text| Value::text(&text)),
        (Value::Record(record), "ToTypeScriptType") => {
            data::type_script_type(record).map(|text| Value::text(&text))
        }
        (Value::Properties(properties), "Len") => {
            let count = properties.as_ref().map_or(0, |properties| properties.len());
            Some(Value::Int(i64::try_from(count).ok()?))
        }
        (Value::Properties(properties), "ToMap") => Some(data::property_map(properties.as_deref())),
        _ => None,
    }
}
