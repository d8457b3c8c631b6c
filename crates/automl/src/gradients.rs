//! Gradients as whole numbers.
//!
//! Gradient and hessian of a row are packed into one `i64`, so that a histogram
//! needs one addition for each value, a sibling is an exact subtraction, and sums
//! do not depend on the order or number of threads.

/// The half of a packed number that holds the hessian.
pub(crate) const HESSIAN: i64 = 0xffff_ffff;

/// Row gradients as whole numbers, and the numbers' worth.
pub(crate) struct Gradients {
    /// `gradient << 32 + hessian`, for each row of the data.
    pub(crate) packed: Vec<i64>,
    pub(crate) gradient_unit: f64,
    pub(crate) hessian_unit: f64,
}

impl Gradients {
    /// Packs the gradients and hessians of `rows`. The units are chosen so that
    /// no sum over the rows leaves its half of the number.
    pub(crate) fn pack(&mut self, rows: &[u32], pairs: &[(f32, f32)]) {
        let (mut gradients, mut hessians) = (0.0, 0.0);
        for &row in rows {
            let (g, h) = pairs[row as usize];
            gradients += f64::from(g.abs());
            hessians += f64::from(h);
        }
        // Half a unit of rounding for each row has to fit too.
        let room = f64::from(1u32 << 30) - rows.len() as f64;
        self.gradient_unit = (gradients / room).max(f64::MIN_POSITIVE);
        self.hessian_unit = (hessians / (2.0 * room)).max(f64::MIN_POSITIVE);
        let (g_scale, h_scale) =
            ((1.0 / self.gradient_unit) as f32, (1.0 / self.hessian_unit) as f32);
        self.packed.resize(pairs.len(), 0);
        for &row in rows {
            let (g, h) = pairs[row as usize];
            // Float to integer casts saturate, so a stray infinity stays in range.
            let (g, h) = ((g * g_scale).round() as i32, (h * h_scale).round() as u32);
            self.packed[row as usize] = (i64::from(g) << 32) + i64::from(h);
        }
    }

    pub(crate) fn sums(&self, packed: i64) -> (f64, f64) {
        ((packed >> 32) as f64 * self.gradient_unit, (packed & HESSIAN) as f64 * self.hessian_unit)
    }
}
