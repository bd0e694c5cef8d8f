//! The one way operators become methods.

/// Methods of operators on [`Var`](crate::Var) and, unrecorded, on [`Tensor`](crate::Tensor):
/// `fn name(x, other operands; arguments) = operator;`. `var fn` leaves out the tensor's method,
/// where it has one already.
macro_rules! methods {
    () => {};
    ($(#[$doc:meta])* var fn $name:ident($x:ident $(, $operand:ident)* $(; $($arg:ident: $ty:ty),+)?)
        = $op:expr; $($rest:tt)*) => {
        impl<'t> $crate::tape::Var<'t> {
            $(#[$doc])*
            #[track_caller]
            pub fn $name(self $(, $operand: $crate::tape::Var<'t>)* $($(, $arg: $ty)+)?) -> Self {
                Self::apply($op, &[self $(, $operand)*])
            }
        }
        $crate::tape::methods::methods! { $($rest)* }
    };
    ($(#[$doc:meta])* fn $name:ident($x:ident $(, $operand:ident)* $(; $($arg:ident: $ty:ty),+)?)
        = $op:expr; $($rest:tt)*) => {
        $crate::tape::methods::methods! {
            $(#[$doc])* var fn $name($x $(, $operand)* $(; $($arg: $ty),+)?) = $op;
        }
        impl $crate::tensor::Tensor {
            #[doc = concat!("Unrecorded [`Var::", stringify!($name), "`](crate::Var::",
                stringify!($name), ").")]
            ///
            /// # Errors
            /// What the recorded operator refuses, at once.
            #[track_caller]
            pub fn $name(
                &self $(, $operand: &$crate::tensor::Tensor)* $($(, $arg: $ty)+)?
            ) -> $crate::error::Result<$crate::tensor::Tensor> {
                $crate::tape::evaluate($op, &[self $(, $operand)*])
            }
        }
        $crate::tape::methods::methods! { $($rest)* }
    };
}
pub(crate) use methods;
