;; (unmask p end key): XORs the bytes [p, end) with the four bytes of key over and over, sixteen at a time while that
;; many are left, and tells whether any byte of the result is 0x80 or more. Compiled into mask.ts; a test compares.
(module
  (memory (import "arena" "memory") 1)
  (func (export "unmask") (param $p i32) (param $end i32) (param $key i32) (result i32)
    (local $keys v128) (local $bytes v128) (local $seen v128) (local $byte i32) (local $tail i32)
    (local.set $keys (i32x4.splat (local.get $key)))
    (block $wide_done
      (loop $wide
        (br_if $wide_done (i32.gt_u (i32.add (local.get $p) (i32.const 16)) (local.get $end)))
        (local.set $bytes (v128.xor (v128.load align=1 (local.get $p)) (local.get $keys)))
        (v128.store align=1 (local.get $p) (local.get $bytes))
        (local.set $seen (v128.or (local.get $seen) (local.get $bytes)))
        (local.set $p (i32.add (local.get $p) (i32.const 16)))
        (br $wide)))
    (block $narrow_done
      (loop $narrow
        (br_if $narrow_done (i32.ge_u (local.get $p) (local.get $end)))
        (local.set $byte
          (i32.xor (i32.load8_u (local.get $p)) (i32.and (local.get $key) (i32.const 255))))
        (i32.store8 (local.get $p) (local.get $byte))
        (local.set $tail (i32.or (local.get $tail) (local.get $byte)))
        (local.set $key (i32.rotr (local.get $key) (i32.const 8)))
        (local.set $p (i32.add (local.get $p) (i32.const 1)))
        (br $narrow)))
    (i32.or (i8x16.bitmask (local.get $seen)) (i32.and (local.get $tail) (i32.const 128)))))
