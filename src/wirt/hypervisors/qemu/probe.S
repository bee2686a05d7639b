# A 64 KiB firmware that enters long mode, runs a counted loop with paging on, and reports on isa-debug-exit.
        .code16
        .globl  _start
_start: cli
        cs lgdtl gdt_pointer - _start
        movl    $0x11, %eax
        movl    %eax, %cr0              # protected mode (ET kept)
        ljmpl   $8, $(0xFFFF0000 + (protected - _start))
        .code32
protected:
        movl    $16, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        # one 2 MiB identity page for data at 0, and the firmware's own page at the top of 4 GiB
        xorl    %eax, %eax
        movl    $0x1000, %edi
        movl    $0x1400, %ecx           # clear 0x1000..0x5fff
        rep stosl
        movl    $0x2003, 0x1000         # PML4[0] -> PDPT
        movl    $0x3003, 0x2000         # PDPT[0] -> PD low
        movl    $0x4003, 0x2018         # PDPT[3] -> PD of the last GiB
        movl    $0x83, 0x3000           # 0..2 MiB
        movl    $0xFFE00083, 0x4FF8     # last 2 MiB below 4 GiB
        movl    $0x20, %eax
        movl    %eax, %cr4              # PAE
        movl    $0x1000, %eax
        movl    %eax, %cr3
        movl    $0xC0000080, %ecx
        rdmsr
        orl     $0x100, %eax            # LME
        wrmsr
        movl    $0x80000011, %eax
        movl    %eax, %cr0              # paging on: long mode active
        ljmpl   $24, $(0xFFFF0000 + (longmode - _start))
        .code64
longmode:
        movl    $20000000, %ecx
        xorl    %eax, %eax
1:      addq    %rcx, %rax
        movq    %rax, 0x6000
        decl    %ecx
        jnz     1b
        movl    $0x2A, %eax             # status 0x2A -> QEMU exits with 0x55
        outb    %al, $0xF4
2:      hlt
        jmp     2b
        .align 8
gdt:    .quad   0
        # Marked as accessed: a processor that had to do that would write into the ROM, and under nested
        # virtualisation try for ever
        .quad   0x00CF9B000000FFFF      # 8: 32-bit code
        .quad   0x00CF93000000FFFF      # 16: data
        .quad   0x00AF9B000000FFFF      # 24: 64-bit code
gdt_pointer:
        .word   31
        .long   0xFFFF0000 + (gdt - _start)
        .org    0xFFF0
        .code16
        .byte 0xE9; .word 0x10000 - 0xFFF3   # jmp _start: the reset vector, IP 0xFFF0
        .org    0x10000
